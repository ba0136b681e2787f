"""Each limit has a name of its own."""

import ast
from collections import Counter
from pathlib import Path

from primedht import limits


def test_no_limit_replaces_another_of_its_name() -> None:
    """REPLICATE_INTERVAL_S stood there twice, for blocks and for records: the first meant nothing."""
    assignments = ast.parse(Path(limits.__file__).read_text("utf-8")).body
    names = Counter(
        target.id
        for assignment in assignments
        if isinstance(assignment, ast.Assign)
        for target in assignment.targets
        if isinstance(target, ast.Name)
    )
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []
