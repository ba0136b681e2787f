"""The documents agree with the code: codes, numbers, links, commands, and the sections that code cites."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from primedht import errors
from primedht.cli import app, exits
from primedht.errors import PrimeDhtError
from primedht.findings import PROBLEMS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ]
)
CITING = [path for folder in ("primedht", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
CODES_OF_THE_CLI = ("usage", "system_error", "node_failed")

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CITATION = re.compile(r'docs/([a-z0-9-]+\.md)(?:, "([^"]+)")?')
_COMMAND = re.compile(
    r"(?<![\w./@-])primedht ([a-z][a-z0-9-]*(?:\|[a-z][a-z0-9-]*)*)(?: ([a-z][a-z0-9-]*(?:\|[a-z0-9-]+)*))?"
)
_SHELL_FENCE = re.compile(r"^```(?:sh|bash|console|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ANY_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`]+)`")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", _ANY_FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(page: str, heading: str) -> str:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _all_codes(of: type[PrimeDhtError]) -> Iterator[str]:
    if of.__module__ == errors.__name__:  # others are internal: they carry their parent's code
        yield of.code
    for each in of.__subclasses__():
        yield from _all_codes(each)


def test_every_error_code_is_in_the_table_with_its_exit_status() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \|", _section("design.md", "Exit statuses and error codes"), re.M
    )
    codes = [code for code, _ in rows]
    assert len(codes) == len(set(codes)), "a code stands there twice"
    assert set(codes) == set(_all_codes(PrimeDhtError))
    assert {code: int(status) for code, status in rows} == {code: exits.status_of(code) for code in codes}


def test_every_finding_of_doctor_has_its_entry_and_no_other_has() -> None:
    entries = re.findall(r"^### (\S+)$", _section("troubleshooting.md", "What doctor finds"), re.M)
    assert entries == list(PROBLEMS)


def test_what_the_seed_called_common_issues_comes_first() -> None:
    assert _headings(ROOT / "docs" / "troubleshooting.md")[1:5] == [
        "The three most common",
        "Connection failures",
        "High memory usage",
        "Slow lookups",
    ]


def test_the_errors_that_users_meet_are_explained() -> None:
    entries = re.findall(r"^### (\S+)$", _section("troubleshooting.md", "Errors of commands"), re.M)
    assert set(entries) <= set(_all_codes(PrimeDhtError))
    assert not set(entries) & set(PROBLEMS), "one entry per code"
    assert len(entries) >= 15


def test_the_codes_of_the_command_line_itself_are_named() -> None:
    section = _section("design.md", "Exit statuses and error codes")
    for code in CODES_OF_THE_CLI:
        assert f"`{code}` ({exits.status_of(code)}" in section


@pytest.mark.parametrize(
    ("page", "pattern", "count"),
    [
        ("protocol.md", r"^(\d+)\. \*\*", 20),  # wire rules
        ("protocol.md", r"^\| (\d+) \|", 60),  # behaviours
        ("py-libp2p.md", r"^\| B(\d+) \|", 21),
    ],
)
def test_numbers_that_tests_cite_are_complete(page: str, pattern: str, count: int) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [int(number) for number in re.findall(pattern, text, re.M)] == list(range(1, count + 1))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    for link in _LINK.findall(_ANY_FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("https:", "http:", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in map(_anchor, _headings(path)), f"{link} names no heading"


def test_sections_that_code_cites_exist() -> None:
    for path in CITING:
        if path == Path(__file__):
            continue
        text = re.sub(r"\s*\n\s*(?:#\s*)?", " ", path.read_text("utf-8"))
        for name, section in _CITATION.findall(text):
            page = ROOT / "docs" / name
            assert page.exists(), f"{_name(path)} cites docs/{name}"
            if section:
                assert section in _headings(page), f'{_name(path)} cites docs/{name}, "{section}"'


def _generated() -> list[tuple[Path, str]]:
    return list(runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]())


@pytest.mark.parametrize(("path", "content"), _generated(), ids=lambda each: getattr(each, "name", ""))
def test_what_is_generated_is_fresh(path: Path, content: str) -> None:
    assert path.read_text("utf-8") == content, "run `make docs`"


def _commands(text: str) -> set[tuple[str, ...]]:
    """Return the commands that a page names in code: `key new|ls` is two."""
    code = [*_SHELL_FENCE.findall(text), *_CODE_SPAN.findall(_ANY_FENCE.sub("", text))]
    found: set[tuple[str, ...]] = set()
    for names, more in (match for each in code for match in _COMMAND.findall(each)):
        for name in names.split("|"):
            subcommands = more.split("|") if name in app.GROUPS and more else [""]
            found |= {(name, each) if each else (name,) for each in subcommands}
    return found


def test_commands_are_found_in_code_only() -> None:
    text = (
        "a primedht node; `primedht key new|ls`, `import primedht`\n```sh\n$ x | primedht put-many -\n```\n"
    )
    assert _commands(text) == {("key", "new"), ("key", "ls"), ("put-many",)}


def test_commands_that_pages_name_exist(capsys: pytest.CaptureFixture[str]) -> None:
    named = {command for page in PAGES for command in _commands(page.read_text("utf-8"))}
    assert ("drain",) in named
    for command in sorted(named):
        assert app.run([*command, "--help"]) == 0, f"primedht {' '.join(command)}: {capsys.readouterr().err}"
