"""Files that are there whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from primedht.errors import DiskFull, InvalidArgument
from primedht.whole_file import WholeFile


def test_nothing_is_seen_before_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    file = WholeFile(path)
    file.write(b"new ")
    file.write(b"value")
    assert path.read_bytes() == b"old"
    file.commit()
    file.close()
    assert path.read_bytes() == b"new value"
    assert os.listdir(tmp_path) == ["out"]


def test_what_is_not_committed_is_forgotten(tmp_path: Path) -> None:
    file = WholeFile(tmp_path / "out")
    file.write(b"part")
    file.close()
    file.close()
    assert os.listdir(tmp_path) == []


def test_the_mode_is_what_the_umask_leaves(tmp_path: Path) -> None:
    for mode, expected in ((0o666, 0o640), (0o600, 0o600)):
        old = os.umask(0o027)
        try:
            file = WholeFile(tmp_path / "out", mode=mode)
        finally:
            os.umask(old)
        file.commit()
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == expected


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "target")
    file = WholeFile(tmp_path / "link")
    file.write(b"x")
    file.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"x"


def test_links_that_lead_nowhere_are_named_and_stay(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in ("loop", "loop/x"):
        with pytest.raises(InvalidArgument, match="choose another path"):
            WholeFile(tmp_path / path)
    assert (tmp_path / "loop").is_symlink()
    assert os.listdir(tmp_path) == ["loop"]


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    file = WholeFile(tmp_path / "pipe")
    file.write(b"x" * 200_000)
    file.commit()
    reader.join()
    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="absent/out: No such file or directory; choose another"):
        WholeFile(tmp_path / "absent" / "out")
    with pytest.raises(InvalidArgument, match="Is a directory"):
        WholeFile(tmp_path)
    full = WholeFile("/dev/full")
    with pytest.raises(DiskFull):
        full.write(b"x")


def test_a_folder_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = WholeFile(folder / "out")
    file.write(b"x")
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidArgument, match="No such file"):
        file.commit()


_DIES = """
import os, signal, sys
from primedht.blocks.extraction import ContentEntry, Extraction
from primedht.whole_file import WholeFile

file = WholeFile(sys.argv[1] + "/file")
file.write(b"part")
tree = Extraction(sys.argv[1] + "/tree")
tree.entry(ContentEntry("", "directory", 0, ""))
tree.entry(ContentEntry("a", "file", 9, ""))
tree.write(b"part")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(
    tmp_path: Path,
) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)])
    assert died.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    living = WholeFile(tmp_path / "living")
    assert len(os.listdir(tmp_path)) == 1
    other = WholeFile(tmp_path / "other")
    other.commit()
    living.write(b"whole")
    living.commit()
    assert sorted(os.listdir(tmp_path)) == ["living", "other"]
