"""The benchmarks run and report what they promise, at the smallest size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import transport

BENCHMARKS = Path(transport.__file__).parent

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]


def report_of(name: str, *arguments: str) -> Any:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_peers_measures_every_row_of_ours_and_go_and_their_ratios() -> None:
    report = report_of("peers", "--targets", "primedht", "go", "--seconds", "0.05", "--crowd", "20")
    requests = {
        f"{kind}_{how}_c{at_once}"
        for kind in ("find_node", "get_value")
        for how in ("reused", "new")
        for at_once in (1, 10, 30)
    }
    bulk = {f"bulk_{direction}_{streams}" for direction in ("in", "out") for streams in (1, 8)}
    for rows in (*report["results"].values(), report["ratios"]["go"]):
        assert set(rows) == requests | bulk | {"connections"}
    assert all(figures["per_s"] > 0 for figures in report["results"]["primedht"].values())
    assert not [row for row, figures in report["results"]["primedht"].items() if figures.get("failures")]
    assert report["machine"]["versions"]["go-libp2p-kad-dht"]


def test_dht_measures_a_node_and_a_cluster() -> None:
    report = report_of("dht", "--nodes", "3", "--values", "3", "--seconds", "0.05")
    assert set(report["cluster"]) == {"put", "get", "get_c10"}
    assert report["cluster"]["put"]["p50_ms"] > 0
    assert all(figures["per_s"] > 0 for figures in report["answers"].values())


def test_transport_reports_the_ratios_to_py_libp2p() -> None:
    names = ("bulk_1", "bulk_8", "rpc_new_c10", "rpc_reused_c1", "rpc_reused_c10", "rpc_new_c100", "setup")

    def results(server_cpu_s: float, idle_memory_bytes: float) -> dict[str, Any]:
        figures = {"client_cpu_s": 1.0, "server_cpu_s": server_cpu_s, "per_s": 1.0}
        return {**dict.fromkeys(names, figures), "idle_memory_bytes": idle_memory_bytes}

    found = transport.split_ratios({"primedht": results(1.0, 3.0), "pylibp2p": results(5.0, 6.0)})
    assert found == {
        "ratios_vs_pylibp2p": {
            "bulk_1": 3.0,
            "bulk_8": 3.0,
            "rpc_new_c10": 3.0,
            "rpc_reused_c1": 3.0,
            "rpc_reused_c10": 3.0,
            "setup_cpu": 1 / 3,
            "idle_memory": 0.5,
        },
        "further_ratios_vs_pylibp2p": {"rpc_new_c100": 3.0},
    }


def test_blocks_measures_every_pair_and_its_ratio_to_boxo() -> None:
    report = report_of("blocks", "--size-mb", "3")
    assert set(report["results"]) == {
        f"{reader} from {holder}" for reader in ("boxo", "primedht") for holder in ("boxo", "primedht")
    }
    assert set(report["ratios_to_boxo"]) == set(report["results"]) - {"boxo from boxo"}
    assert all(row["mb_per_s"] > 0 for rows in report["results"].values() for row in rows.values())
