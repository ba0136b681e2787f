"""`primedht dev`: README's first walk-through."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from processes import clean_environment, primedht, wait_until


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_three_nodes_find_each_others_values_and_leave_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", "dev", "--nodes", "3", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(TMPDIR=str(tmp_path)),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            nodes = json.loads(line)["nodes"]
            first, _, last = (node["data_dir"] for node in nodes)
            stored = json.loads(primedht("put", "greeting", "hello", "--json", "--data-dir", first).stdout)
            assert sorted(stored["holders"]) == sorted(node["peer_id"] for node in nodes)
            assert primedht("get", "greeting", "--data-dir", last).stdout == b"hello"
            large = primedht("put", "large", "-", "--data-dir", first, input=b"x" * 100_000).stdout
            assert b"blocks here and on 2 other peers" in large
            assert primedht("get", "greeting", PRIMEDHT_CONTROL=nodes[1]["control"]).stdout == b"hello"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert not any(is_running(node["process_id"]) for node in nodes)
            assert list(tmp_path.iterdir()) == []
        finally:
            process.kill()


def test_a_node_that_dies_is_reported_and_the_rest_is_stopped(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", "dev", "--nodes", "2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(TMPDIR=str(tmp_path)),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            nodes = json.loads(process.stdout.readline())["nodes"]
            os.kill(nodes[1]["process_id"], signal.SIGKILL)
            assert process.wait(timeout=60) == 1
            assert b"error [node_failed]: node-2 ended with status -9" in process.stderr.read()
            wait_until(lambda: not is_running(nodes[0]["process_id"]), what="the other node is stopped")
            assert list(tmp_path.iterdir()) == []
        finally:
            process.kill()
