"""The Dockerfile, docker-compose.yml, the systemd unit and configs/ agree with the program.

That a cluster of containers works is shown in tests/e2e/test_compose.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from primedht import control_addr
from primedht.config import Config, env_name, keys, load_config
from primedht.control_addr import UnixAddr

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
UNIT = ROOT / "packaging" / "primedht.service"
EXAMPLES = ("amino", "bootstrap", "client", "local-cluster", "node")


def instructions(name: str) -> list[str]:
    """Return the arguments of each Dockerfile instruction of that name."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def unit_values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


def unit_config() -> Config:
    """Return what the service runs with, if its file is configs/node.toml."""
    environ = dict(entry.split("=", 1) for entry in unit_values("Environment"))
    environ = {name: value.replace("%S", "/var/lib").replace("%t", "/run") for name, value in environ.items()}
    return load_config(ROOT / "configs" / "node.toml", environ=environ)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of docker-compose.yml as compose understands them; that needs no engine."""
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    if shutil.which("docker") is None:
        pytest.skip("there is no docker")
    if subprocess.run([*command[:2], "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose")
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return dict(json.loads(shown.stdout)["services"])


def test_the_examples_are_complete() -> None:
    assert sorted(path.stem for path in (ROOT / "configs").glob("*.toml")) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "amino"])
def test_an_example_of_a_private_network_names_it(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.toml", environ={})
    assert config.network.kind == "private"
    assert config.protocol_id == f"/{config.network.name}/kad/1.0.0"


def test_the_example_for_the_public_network_joins_it() -> None:
    config = load_config(ROOT / "configs" / "amino.toml", environ={})
    assert config.network.kind == "public"
    assert config.protocol_id == "/ipfs/kad/1.0.0"
    assert config.to_dht_config().ipfs_keys_only
    assert all("/p2p/" in addr for addr in config.node.bootstrap), "ids are not learnt on public networks"


@pytest.mark.parametrize(("name", "mode"), [("bootstrap", "server"), ("client", "client")])
def test_the_examples_have_the_mode_that_they_are_for(name: str, mode: str) -> None:
    assert load_config(ROOT / "configs" / f"{name}.toml", environ={}).node.mode == mode


@pytest.mark.parametrize("file", [DOCKERFILE, COMPOSE, UNIT], ids=lambda path: path.name)
def test_every_variable_is_a_key_of_the_configuration(file: Path) -> None:
    known = {env_name(key) for key in keys()} | {"PRIMEDHT_CONTROL"}
    found = set(re.findall(r"\bPRIMEDHT_[A-Z_]+", file.read_text("utf-8")))
    assert found
    assert found <= known


def test_the_image_is_built_in_two_stages_and_does_not_run_as_root() -> None:
    assert [each.split()[0] for each in instructions("FROM")] == ["python:3.11-slim-bookworm"] * 2
    assert not DOCKERFILE.read_text("utf-8").startswith("# syntax"), "it would be fetched from a registry"
    assert instructions("USER") == ["4101:4101"]
    assert instructions("VOLUME") == ["/var/lib/primedht"]
    assert instructions("HEALTHCHECK")[0].endswith('CMD ["primedht", "id"]')


def test_only_what_the_image_needs_is_sent_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {word for each in instructions("COPY") if "--from" not in each for word in each.split()[:-1]}
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)


def test_the_containers_can_do_no_more_than_they_must(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) <= 512 << 20, name
        assert not service.get("privileged"), name
        assert "ports" not in service, f"{name}: reachable from outside the machine unasked"
        assert not any(volume["type"] == "bind" for volume in service["volumes"]), name


def test_the_nodes_of_the_compose_file_are_configured_and_watched(services: dict[str, Any]) -> None:
    configs = {
        name: load_config(environ=services[name]["environment"] | {"PRIMEDHT_NODE_DATA_DIR": "/data"})
        for name in ("bootstrap", "node")
    }
    assert configs["node"].network.name == configs["bootstrap"].network.name == "compose"
    assert configs["node"].node.bootstrap == ("/dns/bootstrap/tcp/4101",)
    assert not configs["node"].mdns_enabled
    for name in configs:
        assert "primedht" in " ".join(services[name]["healthcheck"]["test"])
        assert services[name]["stop_grace_period"] == "15s"
        assert configs[name].node.grace < 15
    assert services["node"]["depends_on"]["bootstrap"]["condition"] == "service_healthy"


def test_the_trainer_reaches_the_node_by_its_socket_alone(services: dict[str, Any]) -> None:
    trainer, environ = services["trainer"], services["bootstrap"]["environment"]
    assert trainer["network_mode"] == "none"
    assert trainer["user"].split(":")[0] != "4101"
    assert trainer["environment"]["PRIMEDHT_CONTROL"] == environ["PRIMEDHT_CONTROL_LISTEN"]
    assert environ["PRIMEDHT_CONTROL_MODE"] == "0660"
    assert [volume["source"] for volume in trainer["volumes"]] == ["socket"]


def test_the_service_keeps_its_data_and_its_socket_where_systemd_makes_room() -> None:
    config = unit_config()
    assert config.node.data_dir == Path("/var/lib") / unit_values("StateDirectory")[0]
    socket = control_addr.parse(config.control.listen[0])
    assert isinstance(socket, UnixAddr)
    assert Path(socket.path).parent == Path("/run") / unit_values("RuntimeDirectory")[0]
    assert unit_values("Type") == ["notify"]
    assert float(unit_values("TimeoutStopSec")[0]) > config.node.grace


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    command = unit_values("ExecStart")[0].split()[0]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace(f"ExecStart={command}", f"ExecStart={sys.executable}"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in checked.stderr.splitlines() if UNIT.name in line]
    assert (checked.returncode, said) == (0, [])
