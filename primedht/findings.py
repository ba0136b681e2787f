"""What `primedht doctor` can find, each with a stable code, how bad it is and what to do about it.

Known to the daemon, the clients and the command line alike. docs/troubleshooting.md has an entry for
each code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from primedht import errors

Severity = Literal["ok", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From good to bad: a note needs no action, a warning some day, an error now."""


class Problem(NamedTuple):
    """advice: what to do, in one line."""

    severity: Severity
    advice: str


PROBLEMS: Mapping[str, Problem] = {
    # the configuration and the data directory
    "config_invalid": Problem("error", "correct it; `primedht config show` says where values come from"),
    "data_dir_absent": Problem("note", "nothing to do: the first `primedht run` makes it"),
    "data_dir_unusable": Problem("error", "choose a directory of the daemon's own user with --data-dir"),
    "data_dir_too_new": Problem("error", "install the newer version, or choose another --data-dir"),
    "data_dir_locked": Problem("error", "look at that process's log; stop it if it hangs"),
    "identity_corrupt": Problem("error", "restore the file identity from a backup"),
    "key_file_exposed": Problem("error", "chmod 600 that file; if others may have read it, make a new key"),
    "network_file_system": Problem("warning", "move the data directory to a local disk"),
    "file_system_volatile": Problem("warning", "move the data directory to a disk or a volume that stays"),
    "disk_full": Problem("error", "free some space; the daemon stores nothing new until then"),
    "disk_low": Problem("warning", "free some space, or lower quotas.records_bytes_max"),
    # the daemon and this machine
    "no_daemon": Problem("error", "start it with `primedht run`, or name it with --data-dir or --control"),
    "control_refused": Problem(
        "error", "use its Unix socket; its user may widen control.mode or control.group"
    ),
    "daemon_failed": Problem("error", "look at the daemon's log; restart it if it hangs"),
    "descriptors_low": Problem("warning", "raise the limit (ulimit -n, LimitNOFILE=), or lower limits.*"),
    "memory_high": Problem("warning", "lower [quotas] and limits.connections_*, or give it more memory"),
    "clock_stepped": Problem("warning", "run a time service (chrony, systemd-timesyncd) that slews"),
    "clock_unsynchronised": Problem("note", "run a time service (chrony, systemd-timesyncd)"),
    "clock_skewed": Problem("warning", "compare this machine's clock with a reference; run a time service"),
    # the store
    "store_not_durable": Problem("warning", 'use storage.backend "lmdb", or make the server write at once'),
    "store_corrupt": Problem("warning", "check the disk; the network's other copies replace what was lost"),
    "store_nearly_full": Problem("note", "raise quotas.records_bytes_max if values are missed"),
    # the network
    "not_listening": Problem("error", "set node.listen to an address of this machine"),
    "listener_dead": Problem("error", "restart the daemon; its log says what happened to the socket"),
    "unreachable": Problem("warning", "forward the port, open the firewall, and set node.announce"),
    "reachability_unknown": Problem("note", "try `primedht connect` with this node's address elsewhere"),
    "address_translated": Problem("warning", "forward the port and set node.announce to that address"),
    "bootstrap_none": Problem("note", "name a peer in node.bootstrap, unless this is the first node"),
    "bootstrap_unreachable": Problem("error", "check address, port and firewall; start that node"),
    "bootstrap_unanswered": Problem("warning", "check address, port and firewall; others answered"),
    "bootstrap_wrong_network": Problem("error", "give both nodes the same network.name and network.psk_file"),
    "table_empty": Problem("error", "mend what is said of bootstrap; nothing works without peers"),
    "table_small": Problem("warning", "wait for a refresh; then look at reachability and bootstrap"),
    "lookups_slow": Problem("warning", "raise dht.alpha; look for slow peers with `primedht trace get KEY`"),
    "round_trip_failed": Problem("error", "look at the daemon's log; mend what else is found first"),
    "round_trip_degraded": Problem("warning", "see the refusals' codes; start more nodes"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. code: "ok", or one of `PROBLEMS`. advice: "" where there is none."""

    check: str
    code: str
    severity: Severity
    text: str
    advice: str = ""

    @classmethod
    def good(cls, check: str, text: str) -> Finding:
        return cls(check, "ok", "ok", text)

    @classmethod
    def problem(cls, check: str, code: str, text: str, *, severity: Severity | None = None) -> Finding:
        """severity: in the place of the code's own, where circumstances make it better or worse."""
        known = PROBLEMS[code]
        return cls(check, code, severity or known.severity, text, known.advice)

    @classmethod
    def of_error(cls, check: str, error: errors.PrimeDhtError, *, otherwise: str) -> Finding:
        """Return the finding for an error: of its own code if that is one of ours, or of `otherwise`."""
        code = error.code if error.code in PROBLEMS else otherwise
        return cls.problem(check, code, str(error).partition(";")[0])


def severity_of(text: str) -> Severity:
    """Return a severity that came from outside; one that this version does not know is a warning."""
    return text if text in SEVERITIES else "warning"


def worst_of(findings: list[Finding]) -> Severity:
    """Return the worst severity among `findings`."""
    return max((each.severity for each in findings), key=SEVERITIES.index, default="ok")
