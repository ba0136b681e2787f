"""The one tree of errors: who erred, and a stable code that every interface shows.

`LocalError`: the caller (or this node's own state) is at fault; asking another peer would not help.
`RemoteError`: a peer is at fault; another peer may well succeed, and only that peer pays for it.

`code` is part of the public interface: the control socket, the CLI and the clients carry it
unchanged. An error's text says what happened and, where there is something to do, what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from primedht.results import Trace


class PrimeDhtError(Exception):
    """Base of every error that PrimeDHT raises on purpose."""

    code: ClassVar[str] = "error"
    trace: Trace | None = None
    """How the lookup went that ended so, where there was one."""

    def with_trace(self, trace: Trace) -> Self:
        self.trace = trace
        return self


class LocalError(PrimeDhtError):
    """The caller's request, or this node's own state, made the operation impossible."""

    code: ClassVar[str] = "local_error"


class RemoteError(PrimeDhtError):
    """The peer is at fault; another peer may well succeed. Caller mistakes are `LocalError`."""

    code: ClassVar[str] = "remote_error"


# --- caller's mistakes ---------------------------------------------------------------------------


class InvalidKey(LocalError):
    """Empty, too long, malformed, or in a namespace that this network does not accept."""

    code: ClassVar[str] = "invalid_key"


class InvalidArgument(LocalError):
    """A value of the right type that makes no sense here (a negative count, a malformed address)."""

    code: ClassVar[str] = "invalid_argument"


class ValueTooLarge(LocalError):
    """The value exceeds what one record may hold, or what a get asked for."""

    code: ClassVar[str] = "value_too_large"


class InvalidRecord(LocalError):
    """A record offered for storing does not pass its namespace's validator."""

    code: ClassVar[str] = "invalid_record"


class StaleRecord(LocalError):
    """A better record for the key is already held; the offered one may not replace it."""

    code: ClassVar[str] = "stale_record"


class NotPermitted(LocalError):
    """The signer does not own the key, or the interface used may not do this."""

    code: ClassVar[str] = "not_permitted"


# --- outcomes of operations ----------------------------------------------------------------------


class ValueNotFound(LocalError):
    """The lookup ended and no peer had an acceptable record."""

    code: ClassVar[str] = "value_not_found"


class BlockNotFound(LocalError):
    """A block that was asked for is not here, and nobody asked had it."""

    code: ClassVar[str] = "block_not_found"


class PeerNotFound(LocalError):
    """The lookup ended and no address of the peer is known."""

    code: ClassVar[str] = "peer_not_found"


class QuorumNotReached(LocalError):
    """Fewer acceptable records, or fewer holders, than were asked for."""

    code: ClassVar[str] = "quorum_not_reached"

    def __init__(self, message: str, *, found: int, wanted: int, best: bytes | None = None) -> None:
        super().__init__(message)
        self.found, self.wanted, self.best = found, wanted, best


class OperationTimeout(LocalError):
    """The operation's own time limit passed before it could end."""

    code: ClassVar[str] = "timeout"


# --- this node's state ---------------------------------------------------------------------------


class StoreUnavailable(LocalError):
    """The store cannot be read or written now (disk, connection); nothing was acknowledged."""

    code: ClassVar[str] = "store_unavailable"


class StoreFull(LocalError):
    """No room, and nothing may be evicted to make some; nothing was stored."""

    code: ClassVar[str] = "store_full"


class StoreCorrupt(LocalError):
    """Stored bytes cannot be what was written."""

    code: ClassVar[str] = "store_corrupt"


class InvalidDag(LocalError):
    """Content that is what its CID says and yet no file or directory: its sizes lie, its names escape."""

    code: ClassVar[str] = "invalid_dag"


class UnknownCodec(LocalError):
    """A value is compressed in a way that this version does not know; a newer one may."""

    code: ClassVar[str] = "unknown_codec"


class InvalidTensor(LocalError):
    """Tensors, or a file of them, that are not what they claim to be, or of a type that cannot be stored."""

    code: ClassVar[str] = "invalid_tensor"


class PickleRefused(LocalError):
    """Python's pickle, which runs its writer's code when it is read; other formats carry the same tensors."""

    code: ClassVar[str] = "pickle_refused"


class InvalidManifest(LocalError):
    """A model's manifest that is not in its form, not its owner's, or at odds with its files."""

    code: ClassVar[str] = "invalid_manifest"


class UnknownOwner(LocalError):
    """A model's owner is given by an alias that is not set here."""

    code: ClassVar[str] = "unknown_owner"


class FileChanged(LocalError):
    """A file that is referenced in place is no longer what it was; its content is not provided any more."""

    code: ClassVar[str] = "file_changed"


class ListenFailed(LocalError):
    """An address to listen on is in use, not ours, or not permitted."""

    code: ClassVar[str] = "listen_failed"


class StoreNotDurable(LocalError):
    """The backend would acknowledge what a crash can lose, and that was not agreed to."""

    code: ClassVar[str] = "store_not_durable"


class ConfigInvalid(LocalError):
    """A configuration value, option or environment variable is unknown or out of range."""

    code: ClassVar[str] = "config_invalid"


# --- peers' failures: all that `Rpc` may raise -------------------------------------------------------


class PeerUnreachable(RemoteError):
    """No address of the peer answers, or the connection or stream was lost."""

    code: ClassVar[str] = "peer_unreachable"


class PskMismatch(PeerUnreachable):
    """The peer has another pre-shared key than this private network, or none."""

    code: ClassVar[str] = "psk_mismatch"


class PeerTimeout(RemoteError):
    """The peer did not answer within the request's time limit."""

    code: ClassVar[str] = "peer_timeout"


class PeerRefused(RemoteError):
    """The peer will not keep what it was offered. reason: the code of what keeps it from that."""

    code: ClassVar[str] = "peer_refused"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProtocolViolation(RemoteError):
    """The peer sent what the protocol forbids, or reset the stream instead of answering."""

    code: ClassVar[str] = "protocol_violation"


class DecompressionFailed(RemoteError):
    """Compressed bytes are not what was said of them: damaged, cut short, of another size, or a bomb."""

    code: ClassVar[str] = "decompression_failed"


# --- the daemon, its data directory and its control socket -----------------------------------------


class DataDirLocked(LocalError):
    """Another process uses the data directory."""

    code: ClassVar[str] = "data_dir_locked"


class DataDirUnusable(LocalError):
    """The data directory cannot be created, read or written, or is not a directory of ours."""

    code: ClassVar[str] = "data_dir_unusable"


class DataDirTooNew(LocalError):
    """A newer version of PrimeDHT wrote the data directory; this one must not touch it."""

    code: ClassVar[str] = "data_dir_too_new"


class NetworkFileSystem(LocalError):
    """The data directory is on a network file system, where locks and durability cannot be trusted."""

    code: ClassVar[str] = "network_file_system"


class IdentityCorrupt(LocalError):
    """The identity file does not hold a private key."""

    code: ClassVar[str] = "identity_corrupt"


class DiskFull(LocalError):
    """The disk or the quota of the data directory is full; nothing was half-written."""

    code: ClassVar[str] = "disk_full"


class AddressInUse(LocalError):
    """Another process listens on an address or a control socket that this one needs."""

    code: ClassVar[str] = "address_in_use"


class DaemonUnavailable(LocalError):
    """No daemon answers where the caller looked for one, or it went away during a request."""

    code: ClassVar[str] = "no_daemon"


class MalformedRequest(LocalError):
    """A control request that the protocol does not allow; the connection is closed after the answer."""

    code: ClassVar[str] = "malformed_request"


class Unsupported(LocalError):
    """A request of the control protocol that this daemon does not serve."""

    code: ClassVar[str] = "unsupported"


class TooBusy(LocalError):
    """A limit on connections or requests is reached; trying later may succeed."""

    code: ClassVar[str] = "too_busy"


class SubscriberTooSlow(LocalError):
    """Events came faster than the subscriber read them; its subscription has ended."""

    code: ClassVar[str] = "subscriber_too_slow"


class DaemonError(PrimeDhtError):
    """The daemon met a fault of its own; its log has the details."""

    code: ClassVar[str] = "internal_error"


class SimulationFailed(LocalError):
    """A simulated run ended with a failed check; the command in the text replays it."""

    code: ClassVar[str] = "simulation_failed"


# --- cryptographic keys ------------------------------------------------------------------------------


class MalformedKey(LocalError):
    """A cryptographic key's bytes make no sense, or are of a type that cannot be used here."""

    code: ClassVar[str] = "malformed_key"


class KeyNotFound(LocalError):
    """The keystore has no key of that name."""

    code: ClassVar[str] = "key_not_found"


class KeyExists(LocalError):
    """The keystore already has a key of that name; keys are never overwritten."""

    code: ClassVar[str] = "key_exists"


class PskUnreadable(LocalError):
    """The file of the private network's pre-shared key is missing or cannot be read."""

    code: ClassVar[str] = "psk_unreadable"


class KeyFileExposed(LocalError):
    """Others than its owner may read a private key's file."""

    code: ClassVar[str] = "key_file_exposed"
