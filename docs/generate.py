"""Writes what is derived from the code: `make docs` runs it, tests/test_docs.py checks its freshness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from primedht.config.reference import example_file, manual_page

ROOT = Path(__file__).parent.parent


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with what it should say."""
    yield ROOT / "docs" / "configuration.md", manual_page()
    yield ROOT / "configs" / "node.toml", example_file({"network.name": '"my-cluster"'})


if __name__ == "__main__":
    for path, content in pages():
        path.write_text(content, "utf-8")
