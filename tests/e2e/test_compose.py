"""docker-compose.yml on a real engine: three nodes and a bootstrap node lose no value and no identity.

The tests share one cluster and run in order: each finds what the earlier ones stored. They are skipped
where no engine answers.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import shell_commands, snippets
from processes import clean_environment, wait_until

ROOT = Path(__file__).parents[2]
REPLICAS = (1, 2, 3)
NOT_FOUND = 3


def _engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return all(
        subprocess.run(["docker", *words], capture_output=True, timeout=30, check=False).returncode == 0
        for words in (("info",), ("compose", "version"))
    )


pytestmark = [
    pytest.mark.timeout(230),  # the first test also waits for the image
    pytest.mark.skipif(not _engine_answers(), reason="no container engine answers"),
]


class Cluster:
    """A compose project. written: every value that was stored so far."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.network = f"{project}_dht"
        self.written: dict[str, str] = {}

    def docker(self, *words: str, check: bool = True, input: str = "") -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            ["docker", *words],
            input=input, cwd=ROOT, env=clean_environment(), capture_output=True, text=True,
            timeout=200, check=False,
        )  # fmt: skip
        assert not check or result.returncode == 0, f"{' '.join(words)}: {result.stdout}{result.stderr}"
        return result

    def compose(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.docker("compose", "--project-name", self.project, *words, **options)

    def start(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start all, and wait until each is healthy."""
        return self.compose(
            *("up", "-d", "--wait", "--wait-timeout", "90", "--scale", f"node={len(REPLICAS)}"), check=check
        )

    def container(self, replica: int) -> str:
        return f"{self.project}-node-{replica}"

    def on(self, replica: int, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in one of the nodes, as a user would."""
        return self.compose("exec", "-T", "--index", str(replica), "node", *words, **options)

    def put(self, replica: int, key: str, value: str) -> None:
        self.on(replica, "primedht", "put", key, value)
        self.written[key] = value

    def get(self, replica: int, key: str) -> str | None:
        found = self.on(replica, "primedht", "get", key, "--timeout", "20s", check=False)
        return found.stdout if found.returncode == 0 else None

    def get_all(self, replica: int) -> dict[str, str]:
        """Return what this node finds for every key that was written."""
        keys = "".join(f"{json.dumps(key)}\n" for key in self.written)
        lines = self.on(replica, "primedht", "get-many", input=keys, check=False).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        return {each["key"]: b64decode(each["value_base64"]).decode() for each in found if each["ok"]}

    def peer_id(self, replica: int) -> str:
        identity = json.loads(self.on(replica, "primedht", "id", "--json").stdout)
        return str(identity["peer_id"])

    def is_healthy(self, replica: int) -> bool:
        shown = self.docker("inspect", "--format", "{{.State.Health.Status}}", self.container(replica))
        return shown.stdout.strip() == "healthy"

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "40", check=False).stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster(f"primedht-test-{secrets.token_hex(4)}")
    try:
        built = made.compose("build", check=False)
        if built.returncode:
            pytest.fail(f"the image does not build: {built.stdout}{built.stderr}", pytrace=False)
        started = made.start(check=False)
        if started.returncode:
            pytest.fail(f"{started.stdout}{started.stderr}{made.logs()}", pytrace=False)
        yield made
    finally:
        made.compose("--profile", "trainer", "down", "--volumes", "--timeout", "5", check=False)


def test_a_value_put_on_one_node_is_read_from_another(cluster: Cluster) -> None:
    cluster.put(1, "greeting", "hello")
    assert cluster.get(2, "greeting") == "hello"
    assert cluster.get(3, "greeting") == "hello"
    absent = cluster.on(2, "primedht", "get", "nobody-wrote-this", check=False)
    assert absent.returncode == NOT_FOUND, absent.stderr


def test_what_readme_tells_to_type(cluster: Cluster) -> None:
    """The lines under "With Docker", on this cluster, whose name they do not say."""
    block = next(each for each in snippets("README.md", "sh") if "docker compose" in each.text)
    said = {}
    for command in shell_commands(block.text):
        done = subprocess.run(
            shlex.split(command),
            cwd=ROOT, env=clean_environment(COMPOSE_PROJECT_NAME=cluster.project), capture_output=True,
            text=True, stdin=subprocess.DEVNULL, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        said[command] = done.stdout
    gets = [output for command, output in said.items() if " get greeting" in command]
    assert gets == ["hello", "hello"]
    cluster.written["greeting"] = "hello"


def test_the_image_runs_alone_as_readme_tells(cluster: Cluster) -> None:
    """Built by compose already: `docker run` is tried, on no port of this machine and in a name of ours."""
    block = next(each for each in snippets("README.md", "sh") if "docker build" in each.text)
    build, run = shell_commands(block.text)
    assert shlex.split(build) == ["docker", "build", "-t", "primedht", "."]
    name = f"{cluster.project}-alone"
    words = shlex.split(
        run.replace("-p 4101:4101", f"--name {name}").replace("primedht:/var", f"{name}:/var")
    )
    try:
        cluster.docker(*words[1:])
        wait_until(
            lambda: cluster.docker("exec", name, "primedht", "id", check=False).returncode == 0,
            what="the node answers",
        )
        shown = json.loads(cluster.docker("exec", name, "primedht", "status", "--json").stdout)
        assert shown["network"]["protocol"] == "/my-cluster/kad/1.0.0"
        assert shown["addrs"] == [f"/ip4/192.0.2.7/tcp/4101/p2p/{shown['peer_id']}"]
        findings = json.loads(cluster.docker("exec", name, "primedht", "doctor", "--json").stdout)
        assert findings["worst"] != "error"
    finally:
        cluster.docker("rm", "--force", name, check=False)
        cluster.docker("volume", "rm", "--force", name, check=False)


def test_nodes_have_identities_of_their_own_and_no_more_rights_than_they_need(cluster: Cluster) -> None:
    assert len({cluster.peer_id(replica) for replica in REPLICAS}) == len(REPLICAS)
    assert cluster.on(1, "id", "-u").stdout.strip() == "4101"
    refused = cluster.on(1, "touch", "/opt/primedht/x", check=False)
    assert "Read-only file system" in refused.stderr
    status = cluster.on(1, "grep", "-E", "^(CapEff|NoNewPrivs):", "/proc/1/status").stdout.split()
    assert status == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_another_user_without_a_network_uses_the_nodes_socket(cluster: Cluster) -> None:
    def trainer(*words: str) -> str:
        return cluster.compose("run", "--rm", "--no-deps", "-T", "trainer", *words).stdout

    trainer("put", "learning_rate", "0.001")
    cluster.written["learning_rate"] = "0.001"
    assert trainer("get", "greeting") == "hello"
    assert cluster.get(3, "learning_rate") == "0.001"


def test_a_node_that_was_stopped_comes_back_as_itself_and_finds_every_value(cluster: Cluster) -> None:
    identity = cluster.peer_id(2)
    for number in range(4):
        cluster.put(1 + number % 3, f"before-stop-{number}", f"value {number}")
    cluster.docker("stop", cluster.container(2))
    state = cluster.docker("inspect", "--format", "{{.State.ExitCode}}", cluster.container(2))
    assert state.stdout.strip() == "0", "it did not end in order"
    for replica in (1, 3):
        assert cluster.get_all(replica) == cluster.written
    cluster.put(1, "while-stopped", "stored without it")
    cluster.docker("start", cluster.container(2))
    wait_until(lambda: cluster.is_healthy(2), what="node 2 is healthy again")
    assert cluster.peer_id(2) == identity
    assert cluster.get_all(2) == cluster.written


def test_a_node_that_was_cut_off_the_network_catches_up(cluster: Cluster) -> None:
    """What was overwritten meanwhile is read with its new value."""
    cluster.put(3, "before-cut", "old")
    cluster.docker("network", "disconnect", cluster.network, cluster.container(3))
    cluster.put(1, "before-cut", "new")
    cluster.put(2, "during-cut", "stored without it")
    assert cluster.peer_id(3), "its programs can still talk to it"
    for replica in (1, 2):
        assert cluster.get_all(replica) == cluster.written
    cluster.docker("network", "connect", cluster.network, cluster.container(3))
    wait_until(lambda: cluster.get_all(3) == cluster.written, what="node 3 finds every value")
    cluster.put(3, "after-cut", "from the one that was away")
    assert cluster.get(1, "after-cut") == "from the one that was away"


def test_values_and_identities_outlive_a_stop_of_all(cluster: Cluster) -> None:
    identities = [cluster.peer_id(replica) for replica in REPLICAS]
    cluster.compose("stop")
    cluster.start()
    assert [cluster.peer_id(replica) for replica in REPLICAS] == identities
    for replica in REPLICAS:
        assert cluster.get_all(replica) == cluster.written
