"""IPNS and public-key records that boxo and js-ipns made."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "golden" / "records"


@dataclass(frozen=True)
class GoldenRecord:
    """One IPNS record of an owner. ended: it was over when it was made."""

    what: str
    key: bytes
    value: bytes
    path: bytes
    sequence: int
    validity: str
    ttl_ns: int
    ended: bool


@dataclass(frozen=True)
class GoldenOwner:
    """A key and its records, from the worst to the best, the ended one last."""

    maker: str
    type: str
    peer_id: str
    peer_id_raw: bytes
    public_key: bytes
    private_key: bytes | None
    records: tuple[GoldenRecord, ...]

    @property
    def live(self) -> list[GoldenRecord]:
        return [record for record in self.records if not record.ended]

    def __str__(self) -> str:
        return f"{self.maker}-{self.type}"


def owners() -> list[GoldenOwner]:
    return [
        GoldenOwner(
            maker=path.stem,
            type=owner["type"],
            peer_id=owner["peer_id"],
            peer_id_raw=bytes.fromhex(owner["peer_id_hex"]),
            public_key=bytes.fromhex(owner["public_key"]),
            private_key=bytes.fromhex(owner["private_key"]) if "private_key" in owner else None,
            records=tuple(
                GoldenRecord(
                    what=record["what"],
                    key=bytes.fromhex(record["key"]),
                    value=base64.b64decode(record["value"]),
                    path=record["path"].encode(),
                    sequence=record["sequence"],
                    validity=record["validity"],
                    ttl_ns=record["ttl_ns"],
                    ended=record["what"] == "ended",
                )
                for record in owner["ipns"]
            ),
        )
        for path in sorted(FOLDER.glob("*.json"))
        for owner in json.loads(path.read_text())["owners"]
    ]
