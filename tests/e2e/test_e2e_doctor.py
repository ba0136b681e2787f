"""`primedht doctor` with and without a daemon: what it finds, how it looks, how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processes import daemon, one_line_error, primedht

from primedht.findings import PROBLEMS


def doctor(*arguments: object, status: int, **environ: str) -> dict[str, Any]:
    result = primedht("doctor", "--json", *arguments, **environ)
    assert (result.returncode, result.stderr) == (status, b""), result.stdout
    return dict(json.loads(result.stdout))


def codes(report: dict[str, Any], *, severity: str | None = None) -> set[str]:
    return {each["code"] for each in report["findings"] if severity in (None, each["severity"])}


def test_a_running_node_examines_itself(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as first, daemon(tmp_path / "b", bootstrap=[first.addr]) as second:
        report = doctor("--data-dir", second.data_dir, status=0)
        assert report["daemon"]
        assert report["worst"] in ("ok", "note", "warning")
        found = {each["check"]: each for each in report["findings"]}
        assert second.peer_id in found["daemon"]["text"]
        for check in ("bootstrap", "listening", "routing table", "store", "descriptors"):
            assert found[check]["code"] == "ok", found[check]
        assert "stored on 2 of 3" in found["round trip"]["text"]
        for each in report["findings"]:
            assert each["code"] in ("ok", *PROBLEMS)
            assert bool(each["advice"]) == (each["code"] != "ok")

        wide = primedht("doctor", "--data-dir", second.data_dir).stdout.decode()
        assert "\x1b" not in wide, "no colour where there is no terminal"
        lines = [line.rstrip() for line in wide.splitlines()]
        assert any(line.split()[:3] == ["ok", "routing", "table"] for line in lines)
        assert "-> " in wide

        second.process.kill()
        second.process.wait()
        dead = doctor("--data-dir", second.data_dir, status=4)
        assert codes(dead, severity="error") == {"no_daemon"}
        assert not dead["daemon"]
        alone = doctor("--data-dir", first.data_dir, status=0)
        assert alone["daemon"]


def test_an_untrusted_tcp_connection_may_not_examine(tmp_path: Path) -> None:
    with daemon(tmp_path / "a", "--control", "/ip4/127.0.0.1/tcp/0") as node:
        report = doctor("--control", node.ready["control"], status=1)
        assert codes(report, severity="error") == {"control_refused"}


def test_without_a_daemon_nothing_is_made(tmp_path: Path) -> None:
    report = doctor("--data-dir", tmp_path / "data", status=4)
    assert codes(report, severity="error") == {"no_daemon"}
    assert "data_dir_absent" in codes(report)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_configuration_is_found_first(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[dht]\nalpha = 30\n")
    report = doctor("--config", file, "--data-dir", tmp_path / "data", status=2)
    assert report["findings"][0]["code"] == "config_invalid"
    assert f"{file}: dht.alpha is 30" in report["findings"][0]["text"]
    assert report["worst"] == "error"


def test_the_configuration_says_where_the_daemon_is(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    with daemon(tmp_path / "a") as node:
        file.write_text(f'[node]\ndata_dir = "{node.data_dir}"\n')
        assert doctor("--config", file, status=0)["daemon"]


def test_a_malformed_control_address_is_a_usage_error() -> None:
    result = primedht("doctor", "--control", "nonsense")
    assert result.returncode == 2
    assert "malformed control address" in one_line_error(result)
