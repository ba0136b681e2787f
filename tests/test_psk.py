"""Pre-shared keys: the file that go wrote, ours, and what each mistake says."""

import base64
import json
import logging
import os
from pathlib import Path

import pytest
import structlog

from primedht.errors import MalformedKey, PskUnreadable
from primedht.psk import Psk, read_psk_file

GOLDEN = json.loads((Path(__file__).parent / "golden/pnet/go.json").read_text())
HEADER = b"/key/swarm/psk/1.0.0/\n"


@pytest.mark.parametrize("made", GOLDEN, ids=["base16", "base64", "bin"])
def test_gos_files_and_fingerprints(made: dict) -> None:
    psk = Psk.parse(base64.b64decode(made["file"]))
    assert psk.data.hex() == made["key"]
    assert psk.fingerprint == made["fingerprint"]


def test_ours_are_new_each_time_and_read_back() -> None:
    one, other = Psk.generate(), Psk.generate()
    assert one != other
    assert one.fingerprint != other.fingerprint
    assert Psk.parse(one.serialize()) == one
    assert len(one.serialize()) == 95 + 1  # js allots 95 bytes, without the last newline


def test_the_key_is_never_shown() -> None:
    psk = Psk.generate()
    for text in (repr(psk), str(psk), f"{psk}"):
        assert psk.data.hex() not in text
        assert repr(psk.data) not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with the line"),
        (b"/key/swarm/psk/2.0.0/\n/base16/\n" + b"00" * 32, "begins with the line"),
        (HEADER, "second line"),
        (HEADER + b"/base32/\n" + b"00" * 32, "second line"),
        (HEADER + b"/base16/\n" + b"00" * 31, "32 bytes, not 31"),
        (HEADER + b"/base16/\n" + b"00" * 33, "32 bytes, not 33"),
        (HEADER + b"/base16/\n" + b"0g" * 32, "not in that encoding"),
        (HEADER + b"/base16/\n" + b"0" * 63, "not in that encoding"),
        (HEADER + b"/base64/\n" + b"*" * 44, "not in that encoding"),
        (HEADER + b"/base64/\n" + base64.b64encode(bytes(16)), "32 bytes, not 16"),
        (HEADER + b"/bin/\n" + bytes(31), "32 bytes, not 31"),
        (HEADER + b"/bin/\n" + bytes(34), "32 bytes, not 34"),
        (b"-----BEGIN PRIVATE KEY-----\n", "begins with the line"),
        (bytes(5000), "too large"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "swarm.key"
    file.write_bytes(content)
    with pytest.raises(MalformedKey, match=said) as caught:
        read_psk_file(file)
    assert str(file) in str(caught.value)
    assert caught.value.code == "malformed_key"


def test_a_binary_key_may_end_in_a_newline() -> None:
    assert Psk.parse(HEADER + b"/bin/\n" + b"\n" * 32 + b"\n").data == b"\n" * 32


def test_a_missing_file_says_which_setting_to_check(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(PskUnreadable, match=r"network\.psk_file"):
            read_psk_file(path)


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True), (0o602, True)]
)
def test_a_file_that_others_may_use_gets_a_warning(tmp_path: Path, mode: int, warned: bool) -> None:
    file = tmp_path / "swarm.key"
    psk = Psk.generate()
    file.write_bytes(psk.serialize())
    os.chmod(file, mode)
    with structlog.testing.capture_logs() as logs:
        assert read_psk_file(file) == psk
    assert [entry["event"] for entry in logs] == ["psk_file_exposed"] * warned
    assert psk.data.hex() not in str(logs)
    assert all(entry["log_level"] == logging.getLevelName(logging.WARNING).lower() for entry in logs)
