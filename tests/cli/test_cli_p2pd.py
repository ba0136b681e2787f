"""`primedht p2pd` in the place of go-libp2p-daemon's p2pd: its flags, its output."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import clean_environment, one_line_error, primedht

from primedht.cli.p2pd import parse_flags
from primedht.client import Client
from primedht.errors import InvalidArgument
from primedht.keys import PrivateKey
from primedht.keystore import write_key_file


def test_gos_flag_syntax() -> None:
    flags, ignored = parse_flags(
        ["-listen", "/unix/x", "--hostAddrs=/ip4/127.0.0.1/tcp/0", "-b", "-dht=false", "-connLo", "3", "-q=T"]
    )
    assert flags == {
        "listen": "/unix/x", "hostAddrs": "/ip4/127.0.0.1/tcp/0", "b": True, "dht": False,
        "connLo": 3, "q": True,
    }  # fmt: skip
    assert ignored == []


def test_flags_without_meaning_are_ignored_with_their_values() -> None:
    flags, ignored = parse_flags(
        [
            "-pubsubRouter",
            "gossipsub",
            "-relay=1",
            "-noise",
            "-tls=false",
            "-fromTheFuture",
            "-connGrace=2m",
            "-b",
        ]
    )
    assert flags == {"b": True, "connGrace": 120.0}
    assert ignored == ["-pubsubRouter", "-relay=1", "-fromTheFuture"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["listen"],
        ["-listen"],
        ["-connLo=few"],
        ["-b=maybe"],
        ["-connGrace=soon"],
        ["-f=config.json"],
        ["-i"],
        ["-help"],
        ["-"],
    ],
)
def test_wrong_flags(arguments: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_flags(arguments)


def test_it_prints_p2pds_lines_and_uses_the_key_file(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    write_key_file(tmp_path / "key", key)
    control = f"/unix{tmp_path}/p2pd.sock"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "primedht.cli", "p2pd", f"-listen={control}", "-dhtServer=true"),
            *("-hostAddrs=/ip4/127.0.0.1/tcp/0", f"-id={tmp_path}/key", "-pubsub=true"),
            *("-connManager=true", "-connLo=1", "-connHi=2", "-connGrace=0"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean_environment(TMPDIR=str(tmp_path)),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(4)]
        assert lines[:3] == [f"Control socket: {control}", f"Peer ID: {key.peer_id}", "Peer Addrs:"]
        with Client(control) as client:
            assert client.identify() == (key.peer_id, (lines[3],))
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, "")
    finally:
        process.kill()
        process.communicate()
    assert "p2pd_flag_ignored" in log
    assert "-pubsub=true" in log
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key"], "nothing is left behind"


def test_what_keeps_it_from_starting(tmp_path: Path) -> None:
    for arguments, code in [
        (["-id", str(tmp_path / "absent")], "key_not_found"),
        (["-listen=/ip4/0.0.0.0/tcp/0"], "config_invalid"),
        (["-hostAddrs=nowhere"], "config_invalid"),
        (["-f=x"], "invalid_argument"),
    ]:
        result = primedht("p2pd", f"-listen=/unix{tmp_path}/s", *arguments)
        assert result.stdout == b""
        assert one_line_error(result).startswith(f"error [{code}]: ")
