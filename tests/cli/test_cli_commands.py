"""Every command against a daemon with a fake node: output, JSON, exit statuses, one-line errors."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_node import peer
from processes import clean_environment, one_line_error, primedht

from primedht.cli.values import compression_text
from primedht.results import PutResult

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
ADDR = "/ip4/127.0.0.1/tcp/4101"


def call(control: str, *arguments: object, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return primedht(*arguments, "--control", control, input=input)


def text_of(control: str, *arguments: object, input: bytes = b"") -> str:
    result = call(control, *arguments, input=input)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


def json_of(control: str, *arguments: object, input: bytes = b"") -> Any:
    return json.loads(text_of(control, *arguments, "--json", input=input))


# --- values ----------------------------------------------------------------------------------------


def test_put_says_who_holds_it(control: str) -> None:
    assert text_of(control, "put", "k", "v") == "stored on 2 of 3 (1 refused: peer_timeout)\n"
    assert json_of(control, "put", "k", "v") == {
        "key": "k",
        "holders": [str(peer(0)), str(peer(1))],
        "refused": [{"peer": str(peer(2)), "code": "peer_timeout"}],
        "wanted": 3,
        "replication_factor": 3,
        "degraded": True,
        "sequence": 7,
        "expires_unix_s": 1e9,
        "root": None,
        "receipts": [],
        "receipts_refused": [],
        "value_bytes": None,
        "stored_bytes": None,
        "codec": "",
    }


def test_put_says_what_compressing_saved(control: str) -> None:
    lines = text_of(control, "put", "k", "v", "--compress", "auto").splitlines()
    assert lines[1:] == ["not compressed: a value that its record holds never is"]
    stored = PutResult(
        b"k", (), (), 3, 3, True, None, 0, value_bytes=10 << 20, stored_bytes=1 << 20, codec="zstd"
    )
    assert compression_text(stored) == "compressed with zstd: 10.0 MiB to 1.0 MiB, 90.0% less"
    grown = replace(stored, stored_bytes=10_500_000)
    assert compression_text(grown).endswith("0.1% more")
    assert compression_text(replace(stored, codec="")).startswith("not compressed: its beginning")


@pytest.mark.parametrize(
    "arguments",
    [
        ["v", "--ttl", "2h"],
        ["-"],
        ["--file", "-"],
        ["--once", "v"],
        ["v", "--min-holders", "2"],
        ["v", "--compress", "zstd"],
    ],
)
def test_the_ways_to_give_a_value(control: str, arguments: list[str]) -> None:
    text_of(control, "put", "ways", *arguments, input=b"v")
    assert text_of(control, "get", "ways") == "v"


def test_bytes_come_back_as_they_went_in(control: str, tmp_path: Path) -> None:
    value = bytes(range(256))
    (tmp_path / "in").write_bytes(value)
    text_of(control, "put", "0x00ff", "--file", tmp_path / "in")
    assert call(control, "get", "0x00ff").stdout == value
    assert text_of(control, "get", "0x00ff", "-o", tmp_path / "out") == ""
    assert (tmp_path / "out").read_bytes() == value
    found = json_of(control, "get", "0x00ff")
    assert (found["key"], found["bytes"], found["authenticated"]) == ("0x00ff", 256, True)
    assert found["sources"] == [str(peer(1))]
    assert "value_base64" in found
    assert "value_base64" not in json_of(control, "get", "0x00ff", "-o", tmp_path / "out")


def test_a_failed_get_leaves_the_old_file(control: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    assert call(control, "get", "absent", "-o", tmp_path / "out").returncode == 3
    assert (tmp_path / "out").read_bytes() == b"old"
    result = call(control, "get", "k", "-o", tmp_path / "no" / "out")
    assert "[invalid_argument]" in one_line_error(result)


def test_output_files_that_are_links_or_devices_stay_so(control: str, tmp_path: Path) -> None:
    text_of(control, "put", "k", "v")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    text_of(control, "get", "k", "-o", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"v"
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        text_of(control, "get", "k", "-o", tmp_path / "pipe")
        assert reader.stdout is not None
        assert reader.stdout.read() == b"v"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "pipe", "target"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(control: str) -> None:
    text_of(control, "put", "k", "v")
    for arguments in (["get", "k"], ["status", "--json"]):
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [sys.executable, "-m", "primedht.cli", *arguments, "--control", control],
                stdout=full, stderr=subprocess.PIPE, env=clean_environment(),
            )  # fmt: skip
        assert result.returncode == 1
        assert one_line_error(result).startswith("error [disk_full]: ")
    result = call(control, "get", "k", "-o", "/dev/full")
    assert one_line_error(result).startswith("error [disk_full]: ")
    assert Path("/dev/full").is_char_device()


def test_delete(control: str) -> None:
    text_of(control, "put", "gone", "v")
    assert text_of(control, "delete", "gone").startswith("deleted on 2 of 3")
    result = call(control, "get", "gone")
    assert (result.returncode, result.stdout) == (3, b"")
    assert one_line_error(result).startswith("error [value_not_found]: ")


def on_terminal(control: str, *arguments: str) -> tuple[bytes, bytes, int]:
    """Run a command whose standard output is a terminal."""
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", *arguments, "--control", control],
        stdin=subprocess.DEVNULL, stdout=other, stderr=subprocess.PIPE, env=clean_environment(),
    ) as process:  # fmt: skip
        os.close(other)
        shown = b""
        try:
            while data := os.read(main, 4096):
                shown += data
        except OSError:  # Linux: the other side was closed
            pass
        finally:
            os.close(main)
        assert process.stderr is not None
        return shown, process.stderr.read(), process.wait()


def test_a_terminal_is_shown_text_and_never_binary(control: str) -> None:
    text_of(control, "put", "text", "héllo")
    assert on_terminal(control, "get", "text") == ("héllo\r\n".encode(), b"", 0)
    text_of(control, "put", "binary", "-", input=b"\x1b[2Jboo\x00")
    shown, error, status = on_terminal(control, "get", "binary")
    assert (shown, status) == (b"", 2)
    assert b"write it to a file with -o" in error


# --- batches ---------------------------------------------------------------------------------------


def lines_of(result: subprocess.CompletedProcess[bytes]) -> dict[str, dict]:
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return {row["key"]: row for row in rows}


def test_put_many_and_get_many(control: str) -> None:
    items = [{"key": f"many-{number}", "value": str(number), "ttl": "1h"} for number in range(70)]
    items.append({"key": "many-b", "value_base64": "AP8=", "compress": "zstd"})
    result = call(control, "put-many", input="\n".join(map(json.dumps, items)).encode())
    assert result.returncode == 0
    assert all(row["ok"] and row["replication_factor"] == 3 for row in lines_of(result).values())
    wanted = b'"many-3"\n\n{"key": "many-b"}\n'
    rows = lines_of(call(control, "get-many", input=wanted))
    assert {key: row["value_base64"] for key, row in rows.items()} == {"many-3": "Mw==", "many-b": "AP8="}


def test_a_partial_batch_has_its_own_status(control: str) -> None:
    text_of(control, "put", "k", "v")
    result = call(control, "get-many", input=b'"k"\n"absent"')
    assert result.returncode == 5
    assert lines_of(result)["absent"]["code"] == "value_not_found"
    assert call(control, "get-many", input=b'"absent"').returncode == 3
    assert call(control, "get-many", input=b"").returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "{}",
        '{"key": "k"}',
        '{"key": "k", "value": "v", "value_base64": "AA=="}',
        '{"key": "k", "value_base64": "?"}',
        '{"key": "k", "value": "v", "ttl": "soon"}',
        '{"key": "k", "value": "v", "tttl": 1}',
        '{"key": "k", "value": "v", "compress": "gzip"}',
        '{"key": "", "value": "v"}',
        "[" * 100_000,
    ],
)
def test_a_malformed_line_is_named(control: str, line: str) -> None:
    result = call(control, "put-many", input=b'{"key": "k", "value": "v"}\n' + line.encode())
    assert result.returncode == 2
    assert "line 2" in one_line_error(result)


# --- content and peers -----------------------------------------------------------------------------


def test_content(control: str) -> None:
    assert text_of(control, "provide", CID) == "announced to 1 peer\n"
    assert json_of(control, "provide", CID)["told"] == [str(peer(1))]
    assert text_of(control, "find-providers", CID, "--limit", "2").splitlines() == [
        f"{peer(1)}  {ADDR}",
        f"{peer(2)}  {ADDR}",
    ]
    assert json_of(control, "find-providers", CID, "--limit", "1") == {
        "peer": str(peer(1)), "addrs": [ADDR],
    }  # fmt: skip
    assert text_of(control, "stop-providing", CID) == "no longer announced\n"
    assert json_of(control, "stop-providing", CID) == {"cid": CID, "was_provided": False}
    assert call(control, "find-providers", CID).returncode == 3


def test_names(control: str) -> None:
    assert call(control, "name", "resolve", peer(0)).returncode == 3
    shown = text_of(control, "name", "publish", f"/ipfs/{CID}", "--lifetime", "1h").splitlines()
    assert shown[0] == f"/ipns/{peer(0)} -> /ipfs/{CID}"
    assert shown[1].startswith("sequence 5, good for ")
    assert shown[1].endswith(", stored on 2 of 3 (1 refused: peer_timeout)")
    published = json_of(control, "name", "publish", f"/ipfs/{CID}", "--once")
    assert published["put"]["degraded"] is True
    for name in (f"/ipns/{peer(0)}", peer(0)):
        assert text_of(control, "name", "resolve", name) == f"/ipfs/{CID}\n"
    assert json_of(control, "name", "resolve", peer(0)) == {
        "name": str(peer(0)), "value": f"/ipfs/{CID}", "sequence": 5, "expires_unix_s": 1e10,
        "ttl_s": 300.0, "sources": [str(peer(1))],
    }  # fmt: skip
    result = call(control, "name", "publish", CID, "--key", "absent")
    assert (result.returncode, one_line_error(result)[:22]) == (3, "error [key_not_found]:")


def test_peers(control: str) -> None:
    assert json_of(control, "peers") == [
        {"peer": str(peer(1)), "how": "bootstrap", "in_routing_table": True, "addrs": [ADDR]}
    ]
    assert str(peer(1)) in text_of(control, "peers")
    assert text_of(control, "connect", "host:4101") == f"connected to {peer(1)}\n"
    assert text_of(control, "ping", peer(1), "--count", "1") == f"{peer(1)}: 12.5 ms\n"
    assert json_of(control, "ping", peer(1)) == {"peer": str(peer(1)), "round_trip_s": 0.0125}
    assert text_of(control, "find-peer", peer(1)) == f"{ADDR}/p2p/{peer(1)}\n"
    assert [each["peer"] for each in json_of(control, "closest-peers", "k")] == [
        str(peer(number)) for number in (1, 2, 3)
    ]
    assert text_of(control, "closest-peers", "k").splitlines()[0] == str(peer(1))
    result = call(control, "find-peer", peer(9))
    assert (result.returncode, one_line_error(result)[:23]) == (3, "error [peer_not_found]:")
    result = call(control, "connect", "dead:1")
    assert (result.returncode, one_line_error(result)[:25]) == (1, "error [peer_unreachable]:")


def test_the_node_itself(control: str) -> None:
    assert text_of(control, "id").splitlines() == [str(peer(0)), f"{ADDR}/p2p/{peer(0)}"]
    assert json_of(control, "id") == {"peer_id": str(peer(0)), "addrs": [ADDR]}
    assert json_of(control, "status")["peer_id"] == str(peer(0))
    assert json_of(control, "drain")["left_over"] == 0
    assert "0 left over" in text_of(control, "drain")


# --- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["put"], 2, "usage"),
        (["put", "k", "v", "--tll", "2h"], 2, "usage"),
        (["pit", "k"], 2, "usage"),
        (["get", "k", "--quorum", "none"], 2, "usage"),
        (["put", "k"], 2, "invalid_argument"),
        (["put", "k", "v", "--file", "x"], 2, "invalid_argument"),
        (["put", "k", "--file", "/no/such/file"], 2, "invalid_argument"),
        (["put", "k", "v", "--ttl", "soon"], 2, "invalid_argument"),
        (["put", "k", "v", "--timeout", "0"], 2, "invalid_argument"),
        (["put", "", "v"], 2, "invalid_key"),
        (["put", "k" * 1025, "v"], 2, "invalid_key"),
        (["put", "0xabc", "v"], 2, "invalid_key"),
        (["get", "/pk/nobody"], 2, "invalid_key"),
        (["put", "k", "--file", "/dev/zero"], 1, "value_too_large"),
        (["put", "k", "v", "--min-holders", "99"], 1, "quorum_not_reached"),
        (["get", "never", "--timeout", "50ms"], 1, "timeout"),
        (["get", "bug"], 1, "internal_error"),
        (["provide", "no-cid"], 2, "invalid_argument"),
        (["ping", "no-peer"], 2, "invalid_argument"),
        (["ping", "12D3KooWshort"], 2, "invalid_argument"),
        (["connect", "/ip4/1.2.3.4/tcp/none"], 2, "invalid_argument"),
    ],
)
def test_each_mistake_is_one_line_with_its_status(
    control: str, arguments: list[str], status: int, code: str
) -> None:
    result = call(control, *arguments)
    assert (result.returncode, result.stdout) == (status, b"")
    assert one_line_error(result).startswith(f"error [{code}]: ")


def test_without_a_daemon_the_status_says_so(tmp_path: Path) -> None:
    for place in (
        ["--control", f"/unix{tmp_path}/absent.sock"],
        ["--data-dir", str(tmp_path)],
        ["--control", "/ip4/127.0.0.1/tcp/1"],
    ):
        result = primedht("get", "k", *place)
        assert (result.returncode, one_line_error(result)[:18]) == (4, "error [no_daemon]:")
    result = primedht("get", "k", PRIMEDHT_CONTROL="nonsense")
    assert (result.returncode, one_line_error(result)[:25]) == (2, "error [invalid_argument]:")


def test_the_environment_names_the_daemon(control: str) -> None:
    assert primedht("id", PRIMEDHT_CONTROL=control).returncode == 0


def test_a_reader_that_has_enough_is_no_error(control: str) -> None:
    """`primedht ... | head -1`: no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", "closest-peers", "k", "--control", control],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
