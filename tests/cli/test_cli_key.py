"""`primedht key`: named keys, without a daemon."""

import json
import stat
from pathlib import Path

from processes import one_line_error, primedht

from primedht.psk import Psk


def key(tmp_path: Path, *arguments: object, input: bytes = b""):
    return primedht("key", *arguments, "--data-dir", tmp_path / "data", input=input)


def test_a_key_goes_out_and_in_again(tmp_path: Path) -> None:
    made = json.loads(key(tmp_path, "new", "first", "--json").stdout)
    assert made["name"] == "first"
    assert made["peer_id"].startswith("12D3KooW")
    for form in ("libp2p", "pem"):
        file = tmp_path / f"exported.{form}"
        assert key(tmp_path, "export", "first", "--format", form, "-o", file).returncode == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert key(tmp_path, "import", f"from-{form}", file).returncode == 0
    raw = key(tmp_path, "export", "first").stdout
    assert key(tmp_path, "import", "from-stdin", "-", input=raw).returncode == 0
    listed = key(tmp_path, "ls").stdout.decode().splitlines()
    assert listed == [
        f"{name}  {made['peer_id']}" for name in ("first", "from-libp2p", "from-pem", "from-stdin")
    ]
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "keys" / "first.key").stat().st_mode) == 0o600


def test_mistakes(tmp_path: Path) -> None:
    assert key(tmp_path, "ls").stdout == b""
    key(tmp_path, "new", "taken")
    for arguments, status, code in (
        (["new", "taken"], 1, "key_exists"),
        (["new", "../x"], 2, "invalid_argument"),
        (["export", "absent"], 3, "key_not_found"),
        (["export", "taken", "--format", "jwk"], 2, "invalid_argument"),
        (["import", "other", "/no/such/file"], 2, "invalid_argument"),
        (["import", "other", "-"], 1, "malformed_key"),
    ):
        result = key(tmp_path, *arguments, input=b"garbage")
        assert (result.returncode, one_line_error(result).split()[1]) == (status, f"[{code}]:")


def test_a_pre_shared_key_is_made_once_and_shown_by_its_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "swarm.key"
    made = primedht("key", "psk", "-o", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    fingerprint = made.stdout.decode().strip()
    assert fingerprint == Psk.parse(file.read_bytes()).fingerprint
    assert primedht("key", "psk", "--show", file).stdout == made.stdout
    again = primedht("key", "psk", "-o", file)
    assert (again.returncode, one_line_error(again).split()[1]) == (1, "[key_exists]:")
    assert Psk.parse(file.read_bytes()).fingerprint == fingerprint
    absent = primedht("key", "psk", "--show", tmp_path / "absent")
    assert (absent.returncode, one_line_error(absent).split()[1]) == (1, "[psk_unreadable]:")
    printed = primedht("key", "psk")
    assert Psk.parse(printed.stdout).fingerprint != fingerprint
