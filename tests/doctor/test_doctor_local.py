"""What is checked without a daemon changes nothing, and names what keeps one from starting."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from primedht.config import Config
from primedht.datadir import open_data_dir
from primedht.doctor import local
from primedht.findings import Finding


def data_dir_finding(path: Path) -> Finding:
    found = local.check_data_dir(path, Config())
    assert [each.check for each in found] == ["data directory", "file system", "disk"]
    return found[0]


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A data directory that a node has used."""
    with open_data_dir(tmp_path / "data") as directory:
        directory.identity()
    return tmp_path / "data"


def test_a_directory_that_can_be_used_is_left_as_it_is(used: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in used.rglob("*")}
    assert data_dir_finding(used).code == "ok"
    assert {path: path.stat().st_mtime_ns for path in used.rglob("*")} == before


def test_a_directory_that_is_absent_is_not_made(tmp_path: Path) -> None:
    assert data_dir_finding(tmp_path / "a" / "b").code == "data_dir_absent"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_names_the_process(used: Path) -> None:
    descriptor = os.open(used / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        finding = data_dir_finding(used)
    finally:
        os.close(descriptor)
    assert (finding.code, finding.severity) == ("data_dir_locked", "error")
    assert f"process {os.getpid()}" in finding.text


def _too_new(path: Path) -> None:
    (path / "version").write_text("999\n")


def _corrupt(path: Path) -> None:
    (path / "identity").write_bytes(b"no key")


def _exposed(path: Path) -> None:
    (path / "identity").chmod(0o644)


def _foreign(path: Path) -> None:
    for each in ("version", "identity"):
        (path / each).unlink()
    (path / "photos").mkdir()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_too_new, "data_dir_too_new"),
        (_corrupt, "identity_corrupt"),
        (_exposed, "key_file_exposed"),
        (_foreign, "data_dir_unusable"),
    ],
)
def test_what_keeps_a_node_from_starting_is_named(used: Path, spoil: object, code: str) -> None:
    spoil(used)  # type: ignore[operator]
    finding = data_dir_finding(used)
    assert (finding.code, finding.severity) == (code, "error")
    assert finding.advice
    assert ";" not in finding.text, "what to do is the advice's to say"


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert data_dir_finding(tmp_path / "file").code == "data_dir_unusable"


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PRIMEDHT_")]:
        monkeypatch.delenv(name)
    loaded, finding = local.check_configuration(None)
    assert (loaded.config, finding.code) == (Config(), "ok")
    assert finding.text.startswith("all defaults")
    file = tmp_path / "node.toml"
    file.write_text('[network]\nname = "lab"\n')
    monkeypatch.setenv("PRIMEDHT_DHT_ALPHA", "4")
    _, finding = local.check_configuration(file)
    assert finding.text == f"{file} and 1 environment variable; a new node would join /lab/kad/1.0.0"
    file.write_text("[dht]\naplha = 4\n")
    loaded, finding = local.check_configuration(file)
    assert (finding.code, loaded.config) == ("config_invalid", Config())
    assert "did you mean dht.alpha?" in finding.text


def test_the_clock_without_a_daemon() -> None:
    assert local.check_clock().code in ("ok", "clock_unsynchronised")
