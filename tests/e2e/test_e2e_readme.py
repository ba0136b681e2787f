"""What README and the guides tell to type works, from the first line to the last, on a cluster of `dev`.

Addresses of the examples (192.0.2.7) stand for the first node's. What needs a container engine is run by
test_compose.py; what would set up this very machine is only looked at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, Snippet, console_steps, shell_commands, snippets
from processes import clean_environment

PYTHON = [*snippets("README.md", "python"), *snippets("docs/from-hivemind.md", "python")]
SHELL = snippets("README.md", "sh")


@dataclass
class Cluster:
    """folder: where its nodes' folders are. nodes: as `primedht dev --json` says."""

    folder: Path
    nodes: list[dict[str, Any]]

    @property
    def addr(self) -> str:
        """Where the first node listens, as HOST:PORT."""
        _, _, host, _, port, *_ = self.nodes[0]["addrs"][0].split("/")
        return f"{host}:{port}"


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with `primedht` as this environment runs it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "primedht").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m primedht.cli "$@"\n')
    (folder / "primedht").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Iterator[Cluster]:
    """The cluster that README starts first."""
    words = next(command for each in SHELL for command in shell_commands(each.text) if " dev " in command)
    folder = tmp_path_factory.mktemp("dev")
    with subprocess.Popen(
        [*words.split(), "--network", "my-cluster", "--json"],
        executable=commands / "primedht", stdout=subprocess.PIPE,
        env=environment(commands, TMPDIR=str(folder)),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line
            yield Cluster(next(folder.iterdir()), json.loads(line)["nodes"])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()


def environment(commands: Path, **extra: str) -> dict[str, str]:
    return clean_environment(PATH=f"{commands}{os.pathsep}{os.environ['PATH']}", **extra)


def test_every_block_is_run_by_a_test() -> None:
    """Here, or by the compose tests; a language that nobody runs would go unnoticed."""
    fences = re.findall(r"^```(\w*)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    languages = [name for name in fences if name]
    assert set(languages) == {"sh", "console", "python"}
    known = {
        "sudo apt-get", "make run", "make test", "primedht dev", "primedht run", "docker compose",
        "docker build", "docker run",
    }  # fmt: skip
    named = {" ".join(command.split()[:2]) for each in SHELL for command in shell_commands(each.text)}
    assert named == known


def test_the_console_walk_through(cluster: Cluster, commands: Path) -> None:
    """Outputs that README shows are those that come; every command ends well."""
    (block, *more) = snippets("README.md", "console")
    steps = [step for each in (block, *more) for step in console_steps(each.text)]
    assert len(steps) >= 10
    script = "set -e\n"
    for number, (command, _) in enumerate(steps):
        here = command.replace("/tmp/primedht-dev-*/", f"{cluster.folder}/")
        script += f"echo '<<{number}>>'\n{here}\n"
    ended = subprocess.run(
        ["bash", "-c", script], env=environment(commands), capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    printed = re.split(r"(?:^|(?<=\n)|(?<=\w))<<\d+>>\n", ended.stdout)[1:]
    last = steps[max(0, len(printed) - 1)][0]
    assert ended.returncode == 0, f"{last}: {ended.stderr}"
    for (command, shown), output in zip(steps, printed, strict=True):
        if shown:
            assert output.rstrip("\n") == shown.rstrip("\n"), command


@pytest.mark.parametrize("snippet", PYTHON, ids=str)
def test_the_python_snippets(snippet: Snippet, cluster: Cluster, commands: Path, tmp_path: Path) -> None:
    text = snippet.text.replace("192.0.2.7:4101", cluster.addr)
    text = text.replace('["/ip4/0.0.0.0/tcp/0"]', '["/ip4/127.0.0.1/tcp/0"], "mdns": False')
    assert "192.0.2." not in text
    (tmp_path / "snippet.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100,
        env=environment(commands, PRIMEDHT_NODE_DATA_DIR=cluster.nodes[1]["data_dir"]), check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_a_node_of_a_cluster_of_ones_own(cluster: Cluster, commands: Path, tmp_path: Path) -> None:
    command = next(
        each for block in SHELL for each in shell_commands(block.text) if each.startswith("primedht run")
    )
    words = command.replace("192.0.2.7:4101", cluster.addr).split()
    kept_from_this_machine = {
        "PRIMEDHT_NODE_DATA_DIR": str(tmp_path / "data"),
        "PRIMEDHT_NODE_LISTEN": "/ip4/127.0.0.1/tcp/0",
        "PRIMEDHT_NODE_MDNS": "false",
    }
    with subprocess.Popen(
        words, executable=commands / "primedht", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(commands, **kept_from_this_machine),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert json.loads(line)["event"] == "ready"
            got = subprocess.run(
                [commands / "primedht", "peers", "--json", "--data-dir", tmp_path / "data"],
                env=environment(commands), capture_output=True, check=True, timeout=60,
            )  # fmt: skip
            assert got.stdout
        finally:
            process.kill()


def test_what_make_is_asked_for_exists() -> None:
    for target in ("run", "test", "docs", "interop", "soak", "bench"):
        planned = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert planned.returncode == 0, planned.stderr


def test_the_system_packages_are_those_that_the_image_installs() -> None:
    command = next(each for block in SHELL for each in shell_commands(block.text) if "apt-get" in each)
    asked = {word for word in command.split()[3:] if not word.startswith("-")}
    installed = set(re.findall(r"[a-z][a-z0-9-]+", (ROOT / "Dockerfile").read_text("utf-8")))
    assert {"gcc", "libc6-dev", "libgmp-dev"} <= asked
    assert {"gcc", "libc6-dev", "libgmp-dev"} <= installed
