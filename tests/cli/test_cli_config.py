"""`config show` and `init`: what holds and where it comes from; a file to begin with."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from processes import one_line_error, primedht

from primedht.config import Config, load_config
from primedht.config.sources import keys


def shown(*arguments: object, **environ: str) -> dict[str, Any]:
    result = primedht("config", "show", "--json", *arguments, **environ)
    assert (result.returncode, result.stderr) == (0, b"")
    return dict(json.loads(result.stdout))


def test_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[dht]\nalpha = 4\nttl = "2h"\n[node]\nprofile = "low-latency"\n')
    state = shown("--config", file, "--network", "lab", "--no-mdns", PRIMEDHT_DHT_TTL="90m")
    assert state["protocol"] == "/lab/kad/1.0.0"
    found = state["keys"]
    assert list(found) == list(keys())

    def of(key: str) -> tuple[object, str, str, str]:
        return tuple(found[key][part] for part in ("value", "text", "origin", "source"))  # type: ignore[return-value]

    assert of("dht.alpha") == (4, "4", "file", str(file))
    assert of("dht.ttl") == (5400, '"1h30m"', "env", "PRIMEDHT_DHT_TTL")
    assert of("dht.k_bucket_size") == (10, "10", "profile", "low-latency")
    assert of("network.name") == ("lab", '"lab"', "flag", "--network")
    assert of("node.mdns") == (False, "false", "flag", "--mdns")
    assert of("log.level") == ("info", '"info"', "default", "")
    assert of("node.data_dir")[0], "what holds while it is unset"


def test_show_hides_a_password(tmp_path: Path) -> None:
    environ = {
        "PRIMEDHT_STORAGE_URL": "redis://me:hidden@localhost/0",
        "PRIMEDHT_STORAGE_BACKEND": "redis",
    }
    for arguments in ([], ["--json"]):
        result = primedht("config", "show", *arguments, **environ)
        assert result.returncode == 0
        assert b"hidden" not in result.stdout
        assert b"redis://***@localhost/0" in result.stdout


def test_show_names_the_mistake() -> None:
    result = primedht("config", "show", PRIMEDHT_DHT_ALPHA="30")
    assert result.returncode == 2
    assert "environment variable PRIMEDHT_DHT_ALPHA: dht.alpha is 30" in one_line_error(result)


def test_show_is_a_table_for_people() -> None:
    lines = primedht("config", "show", "--network", "lab").stdout.decode().splitlines()
    assert [line.rstrip() for line in lines if line.startswith("[")][:2] == ["[network]", "[node]"]
    assert any(line.split() == ["name", '"lab"', "flag", "--network"] for line in lines)


def test_init_writes_a_file_that_loads_and_never_replaces_one(tmp_path: Path) -> None:
    first = primedht("init", cwd=tmp_path)
    file = tmp_path / "primedht.toml"
    assert first.stdout.decode() == f"wrote {file.name}; run a node with: primedht run --config {file.name}\n"
    assert load_config(file, environ={}) == Config()
    assert stat.S_IMODE(file.stat().st_mode) & 0o111 == 0
    before = file.read_bytes()
    again = primedht("init", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists and was left as it is" in one_line_error(again)
    assert file.read_bytes() == before


def test_init_takes_a_network_and_its_peers(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    result = primedht(
        *("init", "--file", file, "--network", "lab", "--bootstrap", "192.0.2.7:4101", "--json")
    )
    assert json.loads(result.stdout) == {"file": str(file)}
    config = load_config(file, environ={})
    assert config.network.name == "lab"
    assert config.node.bootstrap == ("/ip4/192.0.2.7/tcp/4101",)


def test_init_prints_to_standard_output_and_refuses_what_is_invalid(tmp_path: Path) -> None:
    printed = primedht("init", "--file", "-", cwd=tmp_path)
    assert printed.stdout.startswith(b"# The configuration of a PrimeDHT node")
    assert list(tmp_path.iterdir()) == []
    refused = primedht("init", "--network", "a/b", cwd=tmp_path)
    assert refused.returncode == 2
    assert "network.name" in one_line_error(refused)
    nowhere = primedht("init", "--file", tmp_path / "absent" / "x.toml")
    assert "No such file or directory" in one_line_error(nowhere)
