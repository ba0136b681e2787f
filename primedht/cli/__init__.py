"""The command line. Each command group is imported only when it is called, or listed by `--help`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status: 0 ok, 1 failed, 2 usage, 3 not found, 4 no daemon,
    5 partial."""
    from primedht.cli import app

    sys.exit(app.run(sys.argv[1:]))
