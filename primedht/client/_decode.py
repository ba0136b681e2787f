"""From the control protocol's messages to results and errors."""

from __future__ import annotations

from typing import cast

from primedht import errors
from primedht.events import OperationEnded
from primedht.findings import Finding, severity_of
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb
from primedht.results import (
    Asked,
    AskOutcome,
    DiscoveredPeer,
    FoundValue,
    KeptBlocks,
    NameRecord,
    PeerShare,
    ProvideResult,
    PublishedName,
    PutResult,
    Refusal,
    Trace,
)


def put_result(message: pb.PutResult) -> PutResult:
    return PutResult(
        key=message.key,
        holders=_peers(message.holders),
        refused=_refusals(message.refused),
        wanted=message.wanted,
        replication_factor=message.replication_factor,
        degraded=message.degraded,
        sequence=message.sequence if message.HasField("sequence") else None,
        expires_unix_s=message.expires_unix_s,
        trace=trace(message.trace) if message.HasField("trace") else None,
        root=message.root if message.HasField("root") else None,
        receipts=_peers(message.receipts),
        receipts_refused=_refusals(message.receipts_refused),
        value_bytes=message.value_bytes if message.HasField("value_bytes") else None,
        stored_bytes=message.stored_bytes if message.HasField("stored_bytes") else None,
        codec=message.codec,
    )


def kept_blocks(message: pb.KeptBlocks) -> KeptBlocks:
    return KeptBlocks(
        root=message.root,
        wanted=message.wanted,
        receipts=_peers(message.receipts),
        refused=_refusals(message.refused),
        size_bytes=message.size_bytes,
        expires_unix_s=message.expires_unix_s,
        done=message.done,
    )


def found_value(message: pb.FoundValue) -> FoundValue:
    return FoundValue(
        key=message.key,
        value=message.value,
        payload=message.payload if message.HasField("payload") else message.value,
        authenticated=message.authenticated,
        sources=_peers(message.sources),
        sequence=message.sequence if message.HasField("sequence") else None,
        writer_unix_ms=message.writer_unix_ms if message.HasField("writer_unix_ms") else None,
        expires_unix_s=message.expires_unix_s if message.HasField("expires_unix_s") else None,
        trace=trace(message.trace) if message.HasField("trace") else None,
        root=message.root if message.HasField("root") else None,
    )


def provide_result(message: pb.ProvideResult) -> ProvideResult:
    return ProvideResult(
        multihash=message.multihash,
        told=_peers(message.told),
        failed=_refusals(message.failed),
        trace=trace(message.trace) if message.HasField("trace") else None,
    )


def name_record(message: pb.NameRecord) -> NameRecord:
    return NameRecord(
        name=PeerId(message.name),
        value=message.value,
        sequence=message.sequence,
        expires_unix_s=message.expires_unix_s,
        ttl_s=message.ttl_s,
        sources=_peers(message.sources),
    )


def published_name(message: pb.PublishedName) -> PublishedName:
    return PublishedName(name_record(message.record), put_result(message.put))


def event(message: pb.Event) -> OperationEnded:
    return OperationEnded(
        operation=message.operation,
        key=message.key,
        started_unix_s=message.started_unix_s,
        took_s=message.took_s,
        outcome=message.outcome,
        peers=_peers(message.peers),
        value_bytes=message.value_bytes,
        trace=trace(message.trace) if message.HasField("trace") else None,
    )


def discovered_peer(message: pb.DiscoveredPeer) -> DiscoveredPeer:
    return DiscoveredPeer(
        id=PeerId(message.id),
        addrs=tuple(message.addrs),
        how=message.how,  # type: ignore[arg-type]
        in_routing_table=message.in_routing_table,
    )


def finding(message: pb.Finding) -> Finding:
    return Finding(
        check=message.check,
        code=message.code,
        severity=severity_of(message.severity),
        text=message.text,
        advice=message.advice,
    )


def error(message: pb.ErrorResponse) -> errors.PrimeDhtError:
    """Return the daemon's error as the exception of its code, with the trace of its lookup if there."""
    failure = _failure(message)
    return failure.with_trace(trace(message.trace)) if message.HasField("trace") else failure


def _failure(message: pb.ErrorResponse) -> errors.PrimeDhtError:
    kind = _error_types().get(message.code)
    if kind is errors.QuorumNotReached:
        return errors.QuorumNotReached(
            message.msg,
            found=message.found,
            wanted=message.wanted,
            best=message.best if message.HasField("best") else None,
        )
    if kind is None:  # a newer daemon's code: carried on under its own name
        kind = type("UnknownError", (errors.PrimeDhtError,), {"code": message.code or "error"})
    return kind(message.msg)


def _error_types() -> dict[str, type[errors.PrimeDhtError]]:
    return {
        kind.code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PrimeDhtError)
    }


def _peers(raw: object) -> tuple[PeerId, ...]:
    return tuple(PeerId(peer) for peer in cast("list[bytes]", raw))


def peer_share(message: pb.PeerShare) -> PeerShare:
    rate = message.bytes_per_s if message.HasField("bytes_per_s") else None
    return PeerShare(
        *(PeerId(message.peer), message.blocks, message.bytes, message.duplicates, rate, message.gone),
        wire_bytes=message.wire_bytes if message.HasField("wire_bytes") else message.bytes,
    )


def _refusals(messages: object) -> tuple[Refusal, ...]:
    return tuple(Refusal(PeerId(each.peer), each.code) for each in cast("list[pb.Refusal]", messages))


def trace(message: pb.Trace) -> Trace:
    return Trace(
        target=message.target,
        asked=tuple(
            Asked(
                peer=PeerId(ask.peer),
                hop=ask.hop,
                started_s=ask.started_s,
                took_s=ask.took_s,
                outcome=cast("AskOutcome", ask.outcome),
                closer=ask.closer,
                has_value=ask.has_value,
                heard_from=PeerId(ask.heard_from) if ask.HasField("heard_from") else None,
            )
            for ask in message.asked
        ),
        stopped=message.stopped,  # type: ignore[arg-type]
        took_s=message.took_s,
    )
