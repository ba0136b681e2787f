"""Writes cids.json: what boxo, the library under `ipfs add`, calls tests/support/block_content.py's files.

    (cd tests/interop/peers/go && go build -o /tmp/boxoadd ./boxoadd)
    PYTHONPATH=tests/support python tests/golden/blocks/make.py /tmp/boxoadd

No code of ours decides a CID here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from block_content import CHUNK_BYTES, Stream, edge_sizes, make_tree, make_wide

WIDE_FILES = 8000
GIB_SIZE = (1 << 30) + 1


def main(boxoadd: str) -> None:
    out: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_tree(work / "tree")
        make_wide(work / "wide", WIDE_FILES)
        for profile in CHUNK_BYTES:
            cids = out[profile] = {}
            for name, size in {**edge_sizes(profile), "1 GiB+1": GIB_SIZE}.items():
                file = work / "file"
                stream = Stream(name, size)
                with file.open("wb") as target:
                    while piece := stream.read(1 << 20):
                        target.write(piece)
                cids[name] = _cid_of(boxoadd, profile, file)
            for name in ("tree", "wide"):
                cids[name] = _cid_of(boxoadd, profile, work / name)
    text = json.dumps(out, indent=1, sort_keys=True)
    (Path(__file__).parent / "cids.json").write_text(text + "\n", "utf-8")


def _cid_of(boxoadd: str, profile: str, path: Path) -> str:
    done = subprocess.run([boxoadd, "--profile", profile, path], check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1])
