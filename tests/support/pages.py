"""The snippets of the documents, as tests run them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """A fenced block. language: as the fence says. number: of that language on its page, from 1."""

    page: str
    language: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.language}-{self.number}"


def snippets(page: str, language: str) -> list[Snippet]:
    """Return the page's blocks in a language, in their order."""
    text = (ROOT / page).read_text("utf-8")
    found = [body for name, body in _FENCE.findall(text) if name == language]
    return [Snippet(page, language, number, body) for number, body in enumerate(found, start=1)]


def console_steps(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that stands below it."""
    steps: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        else:
            command, output = steps[-1]
            steps[-1] = (command, f"{output}{line}\n")
    return steps


def shell_commands(text: str) -> list[str]:
    """Return the commands of a sh block, comments and line continuations taken out."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [re.sub(r"\s+# .*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
