"""Which kind of file system a path is on, from the kernel's mount table."""

from __future__ import annotations

from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")  # proc(5)

# Remote ones: locks, mmap and fsync do there not mean what a store relies on. 9p: WSL's /mnt/c.
NETWORK_FILE_SYSTEMS = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "orangefs", "smb3", "smbfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.goofys", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
    )
)  # fmt: skip


def file_system_of(path: Path, *, mount_table: Path | None = None) -> str | None:
    """Return the file system type that `path` (which need not exist yet) is on, such as "ext4".

    None where the kernel offers no mount table.
    """
    try:
        lines = (mount_table or MOUNT_TABLE).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    target = path.resolve()
    best, found = -1, None
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        mount_point = Path(_unescape(fields[4]))
        depth = len(mount_point.parts)
        # Of two mounts on one place the later one is on top.
        if depth >= best and (mount_point == target or mount_point in target.parents):
            best, found = depth, kind
    return found


def _unescape(text: str) -> str:
    """Undo the table's octal escapes of space, tab, newline and backslash."""
    for octal in ("040", "011", "012", "134"):
        text = text.replace("\\" + octal, chr(int(octal, 8)))
    return text
