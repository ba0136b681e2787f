"""Checks of what a daemon stands on: file system, disk, descriptors, memory, clock.

The functions that check take figures and return findings; those that read figures come first.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from collections.abc import Collection
from pathlib import Path
from statistics import median

from primedht import limits, mounts
from primedht.findings import Finding, Severity
from primedht.units import format_duration, format_size

# Gone after a reboot, or with the container whose upper layer it is.
_VOLATILE = frozenset(("tmpfs", "ramfs", "overlay"))
_TIMEX_BYTES = 1024  # Linux's struct timex has 208
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised

# --- figures -----------------------------------------------------------------------------------------


def open_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def descriptors_max() -> int:
    """Return how many it may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def resident_bytes() -> int:
    """Return the memory that this process occupies. Source: proc(5), statm."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * resource.getpagesize()


def memory_bytes_max(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Return the memory that this process's cgroup may have (a container's, a service's), or None."""
    try:
        text = cgroup.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def clock_is_synchronised() -> bool | None:
    """Return whether the kernel says that a time service steers its clock, or None if it does not say.

    Source: adjtimex(2).
    """
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


# --- checks ------------------------------------------------------------------------------------------


def check_file_system(path: Path) -> Finding:
    """Check what kind of file system `path` is on."""
    kind = mounts.file_system_of(path)
    if kind in mounts.NETWORK_FILE_SYSTEMS:
        text = f"{path} is on a network file system ({kind}): locks and durability cannot be trusted"
        return Finding.problem("file system", "network_file_system", text)
    if kind in _VOLATILE:
        text = f"{path} is on {kind}: what is there does not outlive the machine's or container's end"
        return Finding.problem("file system", "file_system_volatile", text)
    return Finding.good("file system", f"{path} is on {kind or 'a file system of unknown kind'}")


def check_disk(path: Path, *, growth_bytes_max: int) -> Finding:
    """Check the space where `path` is. growth_bytes_max: what the quotas still let the store grow."""
    free = shutil.disk_usage(path).free
    text = f"{format_size(free)} free"
    if free < limits.DATA_DIR_FREE_BYTES_MIN:
        return Finding.problem("disk", "disk_full", f"{text} at {path}")
    if free < growth_bytes_max:
        text += f"; the quotas let the store grow by another {format_size(growth_bytes_max)}"
        return Finding.problem("disk", "disk_low", text)
    return Finding.good("disk", text)


def check_descriptors(used: int, allowed: int, *, connections_max: int) -> Finding:
    """Check that every connection that the limits allow can have its descriptor."""
    text = f"{used} of {allowed} used"
    if allowed < connections_max + limits.DOCTOR_DESCRIPTORS_SPARE:
        text += f"; {connections_max} connections and what else is open may need more"
        return Finding.problem("descriptors", "descriptors_low", text)
    if used > 0.8 * allowed:
        return Finding.problem("descriptors", "descriptors_low", text)
    return Finding.good("descriptors", text)


def check_memory(used: int, allowed: int | None) -> Finding:
    """Check the process's memory against its cgroup's limit, or against what is usual."""
    text = f"{format_size(used)} used" + (f" of {format_size(allowed)}" if allowed is not None else "")
    if allowed is not None and used > 0.8 * allowed:
        return Finding.problem("memory", "memory_high", text)
    if used > limits.DOCTOR_MEMORY_BYTES_USUAL:
        text += f"; a node usually takes under {format_size(limits.DOCTOR_MEMORY_BYTES_USUAL)}"
        return Finding.problem("memory", "memory_high", text)
    return Finding.good("memory", text)


def check_clock(
    *,
    synchronised: bool | None,
    stepped_s: float | None,
    uptime_s: float,
    writers_ahead_s: Collection[float],
) -> Finding:
    """Check the clock by what can be known without asking a server.

    stepped_s: by how much it was set, in all, since the daemon's start; None without a daemon.
    writers_ahead_s: see `WriterClocks.ahead_s`.
    """
    said = {True: "steered by a time service", False: "not steered by a time service", None: ""}[synchronised]
    based_on = [said] if said else []
    if stepped_s is not None:
        if abs(stepped_s) > limits.DOCTOR_CLOCK_OFF_S:
            way = "forward" if stepped_s > 0 else "back"
            text = f"set {way} by {format_duration(abs(stepped_s))} since the start"
            return Finding.problem("clock", "clock_stepped", text)
        based_on.append(f"not set in {format_duration(uptime_s)}")
    if writers_ahead_s:
        ahead_s = median(writers_ahead_s)
        writers = f"{len(writers_ahead_s)} peers" if len(writers_ahead_s) > 1 else "one peer"
        if ahead_s > limits.DOCTOR_CLOCK_OFF_S:
            ahead = format_duration(ahead_s)
            text = f"the clock of {writers} is {ahead} ahead of this one, by the dates of values"
            severity: Severity | None = "note" if len(writers_ahead_s) == 1 else None
            return Finding.problem("clock", "clock_skewed", text, severity=severity)
        based_on.append(f"not behind {writers}, by the dates of their values")
    else:
        based_on.append("no peer's dates to compare with")
    if synchronised is False:
        return Finding.problem("clock", "clock_unsynchronised", ", ".join(based_on))
    return Finding.good("clock", ", ".join(based_on))
