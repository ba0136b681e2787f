"""The data directory: made private, locked, versioned, and never harmed by a mistake."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from primedht import datadir, mounts, paths
from primedht.datadir import DataDir, open_data_dir, prepare_data_dir, write_private
from primedht.errors import (
    DataDirLocked,
    DataDirTooNew,
    DataDirUnusable,
    DiskFull,
    IdentityCorrupt,
    KeyFileExposed,
    NetworkFileSystem,
)
from primedht.limits import UNIX_SOCKET_PATH_BYTES_MAX


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private_and_has_a_version(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "a" / "b") as data_dir:
        assert mode_of(data_dir.path) == 0o700
        assert (data_dir.path / "version").read_text() == "1\n"


def test_an_empty_directory_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()  # as a freshly formatted volume has it
    tmp_path.chmod(0o755)
    with open_data_dir(tmp_path):
        assert mode_of(tmp_path) == 0o700


def test_the_identity_is_made_once_and_private(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        made = data_dir.identity()
        assert mode_of(tmp_path / "identity") == 0o600
    with open_data_dir(tmp_path) as data_dir:
        assert data_dir.identity() == made


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x01\x12\x40" + b"x" * 63])
def test_a_corrupt_identity_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity").write_bytes(content)
    (tmp_path / "identity").chmod(0o600)
    with (
        open_data_dir(tmp_path) as data_dir,
        pytest.raises(IdentityCorrupt, match="restore it from a backup"),
    ):
        data_dir.identity()
    assert (tmp_path / "identity").read_bytes() == content


def test_an_identity_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        data_dir.identity()
        (tmp_path / "identity").chmod(0o640)
        with pytest.raises(KeyFileExposed, match="chmod 600"):
            data_dir.identity()


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from primedht.datadir import open_data_dir\n"
        "with open_data_dir(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DataDirLocked, match=f"in use by process {other.pid}"), open_data_dir(tmp_path):
            pass
        other.kill()  # the kernel frees the lock, whatever way its owner ends
        other.wait()
        with open_data_dir(tmp_path):
            pass


def test_a_newer_layout_is_refused_untouched(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        pass
    (tmp_path / "version").write_text("7\n")
    for opened in (lambda: open_data_dir(tmp_path).__enter__(), lambda: prepare_data_dir(tmp_path)):
        with pytest.raises(DataDirTooNew, match="layout 7, this one knows 1"):
            opened()
    assert (tmp_path / "version").read_text() == "7\n"


def test_an_older_layout_is_migrated_after_a_backup(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        identity = data_dir.identity()
    (tmp_path / "version").unlink()  # as before there was one: layout 0
    (tmp_path / "store").mkdir(mode=0o755)
    (tmp_path / "store" / "data.mdb").write_bytes(b"records")
    with open_data_dir(tmp_path) as data_dir:
        assert data_dir.identity() == identity
        assert mode_of(tmp_path / "store") == 0o700
    assert (tmp_path / "version").read_text() == "1\n"
    (backup,) = tmp_path.glob("backup-of-version-0-*")
    assert (backup / "store" / "data.mdb").read_bytes() == b"records"
    assert (backup / "identity").read_bytes() == (tmp_path / "identity").read_bytes()
    assert not (backup / "lock").exists()


def test_a_failed_migration_leaves_the_old_version_and_the_backup(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        pass
    (tmp_path / "version").write_text("0\n")

    def broken(path: Path) -> None:
        raise DataDirUnusable("half way")

    for _ in range(2):  # and it is tried again
        with (
            pytest.raises(DataDirUnusable, match="half way"),
            open_data_dir(tmp_path, migrations={0: broken}),
        ):
            pass
        assert (tmp_path / "version").read_text() == "0\n"
    assert list(tmp_path.glob("backup-of-version-0-*"))


def test_a_full_disk_during_the_backup_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_data_dir(tmp_path):
        pass
    (tmp_path / "version").write_text("0\n")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datadir.shutil, "copytree", full)
    with pytest.raises(DiskFull, match="free some space"), open_data_dir(tmp_path):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lock", "version"]


@pytest.mark.parametrize("content", ["", "one", "1.0"])
def test_an_unreadable_version_is_refused(tmp_path: Path, content: str) -> None:
    with open_data_dir(tmp_path):
        pass
    (tmp_path / "version").write_text(content)
    with pytest.raises(DataDirUnusable, match="holds no version number"), open_data_dir(tmp_path):
        pass


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    tmp_path.chmod(0o755)
    with pytest.raises(DataDirUnusable, match=r"not a PrimeDHT data directory \(it has 'thesis.tex'\)"):
        open_data_dir(tmp_path).__enter__()
    assert mode_of(tmp_path) == 0o755
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirUnusable, match="not a directory"), open_data_dir(tmp_path / "file"):
        pass
    with pytest.raises(DataDirUnusable, match="Not a directory"), open_data_dir(tmp_path / "file" / "below"):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(DataDirUnusable, match="belongs to user id 12345"), open_data_dir(tmp_path):
        pass


MOUNT_TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {mount} rw,relatime shared:2 - {kind} server:/export rw
31 22 0:41 / /mnt/with\\040space rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNT_TABLE.format(mount=tmp_path / "share", kind=kind))
    monkeypatch.setattr(mounts, "MOUNT_TABLE", table)
    path = tmp_path / "share" / "node"
    with pytest.raises(NetworkFileSystem, match=rf"\({kind}\).*--allow-network-fs"):
        open_data_dir(path).__enter__()
    assert not path.exists()
    with open_data_dir(path, allow_network_fs=True):
        pass


def test_the_nearest_and_last_mount_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        MOUNT_TABLE.format(mount="/srv", kind="nfs") + "32 30 8:2 / /srv/local rw - xfs /dev/b rw\n"
    )
    of = {
        path: mounts.file_system_of(Path(path), mount_table=table)
        for path in ("/srv/x", "/srv/local/x", "/srvother", "/mnt/with space/x")
    }
    assert of == {
        "/srv/x": "nfs", "/srv/local/x": "xfs", "/srvother": "ext4", "/mnt/with space/x": "fuse.sshfs",
    }  # fmt: skip
    assert mounts.file_system_of(Path("/"), mount_table=tmp_path / "absent") is None


def test_a_socket_path_that_is_too_long_moves_to_the_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    short = DataDir(tmp_path / "d").control_socket_path()
    assert short == tmp_path / "d" / "control.sock"
    deep = tmp_path / ("x" * 120)
    moved = DataDir(deep).control_socket_path()
    assert moved.parent == tmp_path / "primedht"
    assert mode_of(moved.parent) == 0o700
    assert len(os.fsencode(moved)) <= UNIX_SOCKET_PATH_BYTES_MAX
    assert (
        moved == DataDir(deep).control_socket_path() != DataDir(tmp_path / ("y" * 120)).control_socket_path()
    )


def test_a_link_in_place_of_the_runtime_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "primedht").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(DataDirUnusable, match="symbolic link"):
        DataDir(tmp_path / ("x" * 120)).control_socket_path()


def test_a_private_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(DiskFull):
        write_private(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_the_default_place_follows_xdg(tmp_path: Path) -> None:
    assert paths.default_data_dir({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "primedht"
    assert paths.default_data_dir({"XDG_DATA_HOME": "relative"}) == Path.home() / ".local/share/primedht"
