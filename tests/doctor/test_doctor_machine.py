"""The checks of the machine: which figures are good, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from primedht import limits, mounts
from primedht.doctor import machine
from primedht.findings import Finding


def outcome(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.severity


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ext4", ("ok", "ok")),
        ("nfs4", ("network_file_system", "warning")),
        ("fuse.sshfs", ("network_file_system", "warning")),
        ("tmpfs", ("file_system_volatile", "warning")),
        ("overlay", ("file_system_volatile", "warning")),
        (None, ("ok", "ok")),
    ],
)
def test_the_file_system(monkeypatch: pytest.MonkeyPatch, kind: str | None, expected: tuple) -> None:
    monkeypatch.setattr(mounts, "file_system_of", lambda path: kind)
    finding = machine.check_file_system(Path("/data"))
    assert outcome(finding) == expected
    assert "/data" in finding.text


@pytest.mark.parametrize(
    ("free", "growth", "expected"),
    [
        (10 << 30, 1 << 30, ("ok", "ok")),
        (1 << 20, 0, ("ok", "ok")),  # no quota: nothing to compare with
        (500 << 20, 1 << 30, ("disk_low", "warning")),
        (1000, 0, ("disk_full", "error")),
    ],
)
def test_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, growth: int, expected: tuple
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    assert outcome(machine.check_disk(tmp_path, growth_bytes_max=growth)) == expected


@pytest.mark.parametrize(
    ("used", "allowed", "code"),
    [(20, 1024, "ok"), (20, 400, "descriptors_low"), (900, 1024, "descriptors_low"), (20, 556, "ok")],
)
def test_the_descriptors(used: int, allowed: int, code: str) -> None:
    assert machine.check_descriptors(used, allowed, connections_max=300).code == code


@pytest.mark.parametrize(
    ("used", "allowed", "code"),
    [
        (80 << 20, None, "ok"),
        (80 << 20, 512 << 20, "ok"),
        (500 << 20, 512 << 20, "memory_high"),
        (600 << 20, None, "memory_high"),
    ],
)
def test_the_memory(used: int, allowed: int | None, code: str) -> None:
    assert machine.check_memory(used, allowed).code == code


def clock(**changed: object) -> Finding:
    figures = {"synchronised": True, "stepped_s": 0.0, "uptime_s": 60.0, "writers_ahead_s": ()}
    return machine.check_clock(**(figures | changed))  # type: ignore[arg-type]


def test_a_clock_that_nothing_speaks_against() -> None:
    finding = clock()
    assert finding.code == "ok"
    assert finding.text == "steered by a time service, not set in 1m, no peer's dates to compare with"
    assert clock(synchronised=None, stepped_s=None).text == "no peer's dates to compare with"


@pytest.mark.parametrize(("stepped_s", "said"), [(3600.0, "set forward by 1h"), (-90.0, "set back by 1m30s")])
def test_a_clock_that_was_set(stepped_s: float, said: str) -> None:
    finding = clock(stepped_s=stepped_s)
    assert outcome(finding) == ("clock_stepped", "warning")
    assert said in finding.text


def test_a_clock_that_differs_from_those_of_writers() -> None:
    assert outcome(clock(writers_ahead_s=(30.0, 31.0, 0.1))) == ("clock_skewed", "warning")
    assert outcome(clock(writers_ahead_s=(30.0,))) == ("clock_skewed", "note"), "it may be theirs"
    assert outcome(clock(writers_ahead_s=(-0.2, 30.0, 0.1))) == ("ok", "ok"), "most agree with ours"


def test_a_clock_that_nobody_steers_is_a_note() -> None:
    assert outcome(clock(synchronised=False)) == ("clock_unsynchronised", "note")


def test_the_figures_of_this_process_can_be_read(tmp_path: Path) -> None:
    assert 0 < machine.open_descriptors() < machine.descriptors_max()
    assert 1 << 20 < machine.resident_bytes() < limits.DOCTOR_MEMORY_BYTES_USUAL * 100
    assert machine.clock_is_synchronised() in (True, False, None)
    assert machine.memory_bytes_max(tmp_path / "absent") is None
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_bytes_max(tmp_path / "memory.max") is None
    (tmp_path / "memory.max").write_text("536870912\n")
    assert machine.memory_bytes_max(tmp_path / "memory.max") == 512 << 20
