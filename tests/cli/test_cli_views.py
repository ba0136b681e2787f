"""What is drawn: `status`, `peers` and `trace`, at the widths that terminals have, and `--watch`."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_node import FakeNode, peer
from processes import clean_environment, one_line_error, primedht
from rich.console import Console, RenderableType

from primedht.assembly import open_node
from primedht.cli.peers_view import peers_view
from primedht.cli.status_view import status_view
from primedht.cli.trace_view import trace_json, trace_view
from primedht.config import Config, NetworkConfig, NodeConfig
from primedht.results import Asked, DiscoveredPeer, Trace

COLUMNS = (80, 140)


def drawn(shown: RenderableType, columns: int, *, colour: bool = False) -> str:
    out = io.StringIO()
    Console(
        file=out,
        width=columns,
        force_terminal=True,
        color_system="standard" if colour else None,
        highlight=False,
    ).print(shown)
    return out.getvalue()


# --- status and peers ------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", COLUMNS)
def test_status(columns: int) -> None:
    shown = drawn(status_view(FakeNode().status()), columns)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[0] == f"peer id     {peer(0)}"
    for part in (
        "mode        server: auto: private networks are served",
        "uptime      1h12m",
        "addresses   /ip4/127.0.0.1/tcp/4101",
        "peers       28 in the routing table, 1 connection; some 32 in the network",
        "buckets     █▃▁  20 7 1 (up to 20 each, from far to near)",
        "records     0 of up to 200,000 (3 open), 2 evicted",
        "            █████░░░░░  490.0 KiB of 1.0 MiB, in memory (not durable)",
        "blocks      12, 1.0 MiB of them in files where these lie",
        "            █████░░░░░  3.0 MiB of 6.0 MiB",
        "providers   2 records of 1 CID",
        "            ██████████  250 B of 256 B",
        "kept alive  7 values and 1 CID of this node's own",
        "            key-0  0 B, put again in 0ms",
        "            and 2 more",
    ):
        assert part in lines
    assert "bootstrap   /ip4/192.0.2.7/tcp/4101: refused [peer_unreachable]" in lines
    assert "192.0.2.8" not in shown


def test_a_pre_shared_key_is_shown_by_its_fingerprint() -> None:
    state: dict[str, Any] = FakeNode().status()
    assert "shared key" not in drawn(status_view(state), 80)
    state["network"]["psk_fingerprint"] = "0123abcd"
    assert "shared key  0123abcd" in drawn(status_view(state), 80)


def test_work_that_is_tried_again_is_shown() -> None:
    state: dict[str, Any] = FakeNode().status()
    state["jobs"] = [
        {"id": "0123", "what": "the checkpoint of step 7 of run", "trouble": ""},
        {"id": "4567", "what": "the checkpoint of step 8 of run", "trouble": "stored on 0 of the 2 holders"},
    ]
    state["replicate"] = {"asked_again": [{"root": "bafyroot", "state": "0 of 3 other peers keep it"}]}
    shown = [line.strip() for line in drawn(status_view(state), 80).splitlines()]
    assert shown[-5:] == [
        "jobs        the checkpoint of step 7 of run  0123",
        "the checkpoint of step 8 of run  4567",
        "stored on 0 of the 2 holders",
        "published   bafyroot",
        "0 of 3 other peers keep it; others are asked again",
    ]


def test_the_state_of_a_node_alone_says_why_its_table_is_empty() -> None:
    state: dict[str, Any] = FakeNode().status()
    state["routing_table"] |= {
        "peers": 0, "bucket_sizes": [], "why_empty": "no bootstrap peers", "network_size_estimate": None,
    }  # fmt: skip
    state |= {"addrs": [], "kept_alive": []}
    state["storage"]["kept_alive"] = 0
    shown = drawn(status_view(state), 80)
    assert "(no bootstrap peers)" in shown
    assert "buckets" not in shown
    assert "addresses   none" in shown


async def test_the_state_of_a_real_node_has_what_is_drawn() -> None:
    config = Config(
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False), network=NetworkConfig(name="test")
    )
    async with open_node(config) as node:
        await node.put("key", b"value")
        state = json.loads(json.dumps(node.status()))
    assert state.keys() == FakeNode().status().keys()
    assert "key  5 B, put again in" in drawn(status_view(state), 80)


def test_peers() -> None:
    known = [
        DiscoveredPeer(peer(1), ("/ip4/127.0.0.1/tcp/1",), "bootstrap", True),
        DiscoveredPeer(peer(2), (), "inbound", False),
    ]
    assert drawn(peers_view(known), 80).splitlines() == [
        "2 known, 1 in the routing table",
        f"{peer(1)}  in table (bootstrap)",
        "    /ip4/127.0.0.1/tcp/1",
        f"{peer(2)}  not in table (inbound)",
    ]
    assert "no peers yet" in drawn(peers_view([]), 80)


# --- traces ----------------------------------------------------------------------------------------

TRACE = Trace(
    b"key",
    (
        Asked(peer(1), 1, 0.0, 0.010, "answered", 20),
        Asked(peer(2), 1, 0.0, 0.040, "timeout"),
        Asked(peer(3), 2, 0.010, 0.020, "answered", 1, True, heard_from=peer(1)),
        Asked(peer(4), 3, 0.030, 0.005, "violation", heard_from=peer(3)),
        Asked(peer(5), 2, 0.012, 0.001, "unreachable", heard_from=peer(1)),
        Asked(peer(6), 2, 0.035, 0.005, "abandoned", heard_from=peer(99)),
        Asked(peer(7), 1, 0.039, 0.001, "answered"),
    ),
    "converged",
    0.040,
)


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_trace_is_a_tree_beside_a_time_line(columns: int) -> None:
    lines = [line.rstrip() for line in drawn(trace_view(TRACE, width=columns), columns).splitlines()]
    assert max(map(len, lines)) <= columns
    summary = " ".join(lines[: lines.index("")])
    assert summary == (
        "asked 7 peers in 2 hops, 40.0 ms: 3 answered, 1 no answer in time, 1 answered nonsense, "
        "1 unreachable, 1 not waited for; it stopped because the closest peers have answered"
    )
    table = lines[lines.index("") + 1 : -2]
    assert table[0].split() == ["#", "peer", "bits", "0", "40.0", "ms", "took", "said"]
    rows = [line.split() for line in table[1:]]
    assert [row[0] for row in rows] == ["1", "3", "4", "5", "2", "6", "7"]
    ends = [str(peer(number))[-8:] for number in (1, 3, 4, 5, 2, 6, 7)]
    for line, end in zip(table[1:], ends, strict=True):
        assert end in line
    if columns >= 130:
        assert str(peer(4)) in table[3]
    said = ["names 20 peers", "has it, names 1 peer", "answered nonsense", "unreachable", "no answer in time"]
    for line, words in zip(table[1:], said, strict=False):
        assert line.endswith(words)
    bars = [re.search("[▏▎▍▌▋▊▉█]", line).start() for line in table[1:6]]
    assert bars[0] == bars[4] < bars[1] < bars[2]
    assert "└ " in table[3]
    assert "├ " in table[2]


def test_a_trace_without_anybody() -> None:
    for stopped, reason in (("no_peers", "no other peer is known"), ("enough", "enough peers agreed")):
        shown = drawn(trace_view(Trace(b"key", (), stopped, 0.0), width=80), 80)
        assert shown.split() == f"asked nobody, 0.0 ms; it stopped because {reason}".split()


def test_instant_and_slow_requests_are_drawn_within_their_column() -> None:
    for took_s, total_s in ((0.0, 0.0), (100.0, 1.0), (1e-9, 1e3)):
        trace = Trace(b"key", (Asked(peer(1), 1, 0.0, took_s, "answered"),), "converged", total_s)
        for line in drawn(trace_view(trace, width=80), 80).splitlines():
            assert len(line.rstrip()) <= 80


def test_colours_add_nothing_but_colour() -> None:
    for shown in (trace_view(TRACE, width=80), status_view(FakeNode().status())):
        coloured = drawn(shown, 80, colour=True)
        assert "\x1b[" in coloured
        plain = drawn(shown, 80)
        assert "\x1b[3" not in plain.replace("\x1b[3m", "")


def test_a_trace_as_json() -> None:
    shown = trace_json(TRACE)
    assert (shown["stopped"], shown["took_s"], len(shown["asked"])) == ("converged", 0.04, 7)
    assert shown["asked"][2] == {
        "peer": str(peer(3)), "heard_from": str(peer(1)), "hop": 2,
        "common_bits": shown["asked"][2]["common_bits"], "started_s": 0.01, "took_s": 0.02,
        "outcome": "answered", "closer": 1, "has_value": True,
    }  # fmt: skip


def test_trace_commands(control: str) -> None:
    def text(*arguments: object) -> str:
        result = primedht(*arguments, "--control", control)
        assert (result.returncode, result.stderr) == (0, b"")
        return result.stdout.decode()

    assert text("trace", "put", "traced", "v").startswith("put traced: stored on 2 of 3")
    shown = text("trace", "put", "traced", "v")
    assert f"└ …{str(peer(2))[-8:]}" in shown
    assert text("trace", "closest", "k").startswith("closest k: 1 peer answered\nasked 2 peers in 1 hop")
    found = json.loads(text("trace", "put", "traced", "v", "--json"))
    assert (found["operation"], found["result"]["wanted"]) == ("put", 3)
    assert len(found["trace"]["asked"]) == 2
    assert text("trace", "get", "traced").startswith("get traced: found 1 byte at 1 peer\n")
    assert json.loads(text("trace", "get", "traced", "--json"))["result"]["bytes"] == 1

    for as_json in ([], ["--json"]):
        result = primedht("trace", "get", "absent", *as_json, "--control", control)
        assert (result.returncode, one_line_error(result)[:24]) == (3, "error [value_not_found]:")
        shown = result.stdout.decode()
        if as_json:
            assert json.loads(shown)["result"]["code"] == "value_not_found"
        else:
            assert str(peer(2))[-8:] in shown


# --- watching --------------------------------------------------------------------------------------


@contextmanager
def watching(control: str, *arguments: str, terminal: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command on a terminal or a pipe; gives the process and what to read from."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    # The background job of a shell ignores it, and so would the command.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", *arguments, "--control", control],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=clean_environment(TERM="xterm"),
    )  # fmt: skip
    signal.signal(signal.SIGINT, inherited)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        os.close(ours)


def read_until(source: int, mark: bytes, times: int) -> bytes:
    seen = b""
    while seen.count(mark) < times:
        seen += os.read(source, 65536)
    return seen


@pytest.mark.parametrize(("command", "mark"), [("status", b"buckets"), ("peers", b"1 known")])
def test_watch_redraws_in_place_until_it_is_interrupted(control: str, command: str, mark: bytes) -> None:
    with watching(control, command, "--watch", "--interval", "100ms", terminal=True) as (process, source):
        seen = read_until(source, mark, 3)
        assert b"\x1b[?1049h" in seen  # a screen of its own: nothing is left behind
        assert b"every 100ms; Ctrl-C ends" in seen
        process.send_signal(signal.SIGINT)
        read_until(source, b"\x1b[?1049l", 1)
        assert process.wait(30) == 0


def test_watch_as_json_is_a_line_each_time(control: str) -> None:
    with watching(control, "peers", "--watch", "--interval", "100ms", "--json", terminal=False) as (
        process,
        source,
    ):
        lines = read_until(source, b"\n", 3).splitlines()[:3]
        assert [json.loads(line)[0]["peer"] for line in lines] == [str(peer(1))] * 3
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_watch_refuses_a_file_and_an_interval_of_nothing(control: str) -> None:
    for command in ("status", "peers"):
        result = primedht(command, "--watch", "--control", control)
        assert (result.returncode, result.stdout) == (2, b"")
        assert "draws on a terminal" in one_line_error(result)
    for interval in ("0", "1ms", "soon"):
        result = primedht("peers", "--watch", "--interval", interval, "--json", "--control", control)
        assert (result.returncode, one_line_error(result)[:25]) == (2, "error [invalid_argument]:")
