"""The behaviours that the tests of go-, rust- and js-libp2p define, and those that only ours need: each has
a test whose docstring begins with its number ("Behaviour 24: ...", "Behaviours 17 and 18: ...") or name
("Extra: ..."), or stands among what we leave out."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
COMPATIBILITY = TESTS.parent / "docs" / "compatibility.md"
LAST = 60
LEFT_OUT = {48}
NUMBERS = re.compile(r"Behaviours? (\d+(?:(?:, | and |: \(and )\d+)*)(?!'s)\b")
EXTRA = (
    "two requests on one stream",
    "half-close before reply",
    "300 short inbound connections",
    "13 idle kad streams",
    "30 providers on one key",
    "equal re-put refreshes",
    "restart keeps values, providers and peers",
    "kill -9 during write",
)


def docstrings(*folders):
    """Yield the docstring of every test in `folders`."""
    for folder in folders:
        for path in sorted((TESTS / folder).rglob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    yield ast.get_docstring(node) or ""


def numbers_in(docstring):
    found = NUMBERS.match(docstring)
    return set() if found is None else set(map(int, re.findall(r"\d+", found[1])))


def test_every_behaviour_is_tested_with_the_engine():
    tested = set().union(*map(numbers_in, docstrings("dht")))
    assert set(range(1, LAST + 1)) - tested == LEFT_OUT
    assert max(tested) <= LAST


@pytest.mark.parametrize("item", EXTRA)
def test_every_extra_is_tested(item):
    assert any(text.startswith("Extra: ") and item in text for text in docstrings(".")), item


@pytest.mark.parametrize("number", sorted(LEFT_OUT))
def test_what_is_left_out_is_said(number):
    lines = COMPATIBILITY.read_text(encoding="utf-8").splitlines()
    assert any("ehaviour" in line and re.search(rf"\b{number}\b", line) for line in lines)


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("Behaviour 24: concurrent puts", {24}),
        ("Behaviours 17, 18: budgets", {17, 18}),
        ("Behaviours 29 and 30: clients", {29, 30}),
        ("Behaviour 43: (and 45) many targets", {43, 45}),
        ("Behaviour 23's companion: slow peers", set()),
        ("Extra: two requests", set()),
    ],
)
def test_numbers_are_read(docstring, numbers):
    assert numbers_in(docstring) == numbers
