"""Each constant has a name of its own."""

import ast
from collections import Counter
from pathlib import Path

import primedht
from primedht import limits


def test_no_limit_replaces_another_of_its_name() -> None:
    """REPLICATE_INTERVAL_S stood there twice, for blocks and for records: the first meant nothing."""
    counts = _counts_of_names(Path(limits.__file__))
    assert len(counts) > 100
    assert _given_twice(counts) == []


def test_no_module_gives_a_name_to_two_constants() -> None:
    package = Path(primedht.__file__).parent
    modules = [path for path in package.rglob("*.py") if path.parent.name != "pb"]
    assert len(modules) > 200
    twice = {str(path.relative_to(package)): _given_twice(_counts_of_names(path)) for path in modules}
    assert {path: names for path, names in twice.items() if names} == {}


def _counts_of_names(module: Path) -> Counter[str]:
    """Return how often each name is assigned at the top level of `module`."""
    counts: Counter[str] = Counter()
    for statement in ast.parse(module.read_text("utf-8")).body:
        match statement:
            case ast.Assign(targets=targets):
                counts.update(
                    part.id
                    for target in targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
                )
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                counts[name] += 1
    return counts


def _given_twice(counts: Counter[str]) -> list[str]:
    return [name for name, count in counts.items() if count > 1]
