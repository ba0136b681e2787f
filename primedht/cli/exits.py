"""Exit statuses, and what to do about errors whose text does not say so."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NO_DAEMON: Final = 4
PARTIAL: Final = 5
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

_STATUS = {
    "usage": USAGE,
    "config_invalid": USAGE,
    "invalid_argument": USAGE,
    "invalid_key": USAGE,
    "unknown_owner": USAGE,
    "value_not_found": NOT_FOUND,
    "peer_not_found": NOT_FOUND,
    "block_not_found": NOT_FOUND,
    "key_not_found": NOT_FOUND,
    "no_daemon": NO_DAEMON,
}

_ADVICE = {
    "config_invalid": "correct it; configs/node.toml shows every key",
    "invalid_argument": "see the command's --help",
    "invalid_key": "a key is text, /pk/<peer id>, /ipns/<name> or 0x and hexadecimal digits",
    "value_not_found": "check the key, or wait until its publisher is reachable",
    "block_not_found": "check the CID, or wait until a provider is reachable",
    "invalid_dag": "do not trust who gave you this CID",
    "invalid_manifest": "do not trust who gave you this model",
    "invalid_tensor": "write it again with a safetensors library",
    "pickle_refused": "convert it to safetensors",
    "file_changed": "add the file again",
    "peer_not_found": "check the peer id; a peer is found only while it is connected to the network",
    "value_too_large": "raise --max-bytes to get it",
    "quorum_not_reached": "start more nodes, or ask for fewer",
    "timeout": "try again, or give a longer --timeout",
    "peer_unreachable": "check the address and that the peer is running",
    "peer_timeout": "try again; the peer may be overloaded",
    "store_full": "delete values, or raise [quotas]",
    "store_unavailable": "see the daemon's log",
    "store_corrupt": "restore the data directory from a backup, or start with an empty one",
    "disk_full": "free some space; nothing was half-written",
    "malformed_key": "give a libp2p private key file, its base64, or Ed25519 PEM",
    "key_not_found": "list the names with `primedht key ls`",
    "not_permitted": "import the key with `primedht key import`, or write a key of your own",
    "stale_record": "a newer value is stored; read it first",
    "system_error": "check the file and its permissions",
    "internal_error": "see the daemon's log",
}


def status_of(code: str) -> int:
    """Return the exit status for an error's code."""
    return _STATUS.get(code, FAILED)


def with_advice(code: str, text: str) -> str:
    """Return an error's text with what to do about it."""
    return f"{text}; {_ADVICE[code]}" if code in _ADVICE and ";" not in text else text
