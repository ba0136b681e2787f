"""Listing a stranger's directory: its names are a stranger's too."""

import pytest

from primedht.cids import Cid
from primedht.cli import common, content
from primedht.client._blocks import DirectoryEntry

CID = Cid.of(b"file")


class _Daemon:
    def list_directory(self, *_: object, **__: object) -> list[DirectoryEntry]:
        return [
            DirectoryEntry("safe\nbafyfake  1 B  other", CID, 1),
            DirectoryEntry("\x1b]0;title\x07", CID, 1),
        ]


def test_a_name_neither_steers_the_terminal_nor_makes_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "client", lambda *_: _Daemon())
    content.ls(str(CID))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 2
    assert "\x1b" not in shown
    assert shown.endswith("  \ufffd]0;title\ufffd\n")
