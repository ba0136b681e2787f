"""From results and errors to the control protocol's messages."""

from __future__ import annotations

from collections.abc import Iterable

from primedht.errors import PrimeDhtError, QuorumNotReached
from primedht.events import OperationEnded
from primedht.findings import Finding
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb
from primedht.results import (
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


def error(
    failure: PrimeDhtError, *, message: str | None = None, want_trace: bool = False
) -> pb.ErrorResponse:
    """`message` replaces the error's own text where clients of p2pd look for a certain one."""
    out = pb.ErrorResponse(msg=message or str(failure) or failure.code, code=failure.code)
    if want_trace and failure.trace is not None:
        out.trace.CopyFrom(trace(failure.trace))
    if isinstance(failure, QuorumNotReached):
        out.found, out.wanted = failure.found, failure.wanted
        if failure.best is not None:
            out.best = failure.best
    return out


def error_response(
    failure: PrimeDhtError, *, message: str | None = None, want_trace: bool = False
) -> pb.Response:
    return pb.Response(type=pb.Response.ERROR, error=error(failure, message=message, want_trace=want_trace))


def put_result(result: PutResult, *, want_trace: bool) -> pb.PutResult:
    return pb.PutResult(
        key=result.key,
        holders=[bytes(peer) for peer in result.holders],
        refused=_refusals(result.refused),
        wanted=result.wanted,
        replication_factor=result.replication_factor,
        degraded=result.degraded,
        sequence=result.sequence,
        expires_unix_s=result.expires_unix_s,
        trace=trace(result.trace) if want_trace and result.trace else None,
        root=result.root,
        receipts=[bytes(peer) for peer in result.receipts],
        receipts_refused=_refusals(result.receipts_refused),
        value_bytes=result.value_bytes,
        stored_bytes=result.stored_bytes,
        codec=result.codec or None,
    )


def kept_blocks(kept: KeptBlocks) -> pb.KeptBlocks:
    return pb.KeptBlocks(
        root=kept.root,
        wanted=kept.wanted,
        receipts=[bytes(peer) for peer in kept.receipts],
        refused=_refusals(kept.refused),
        done=kept.done,
        size_bytes=kept.size_bytes,
        expires_unix_s=kept.expires_unix_s,
    )


def found_value(found: FoundValue, *, want_trace: bool) -> pb.FoundValue:
    return pb.FoundValue(
        key=found.key,
        value=found.value,
        payload=found.payload if found.payload != found.value else None,
        authenticated=found.authenticated,
        sources=[bytes(peer) for peer in found.sources],
        sequence=found.sequence,
        writer_unix_ms=found.writer_unix_ms,
        expires_unix_s=found.expires_unix_s,
        trace=trace(found.trace) if want_trace and found.trace else None,
        root=found.root,
    )


def provide_result(result: ProvideResult, *, want_trace: bool) -> pb.ProvideResult:
    return pb.ProvideResult(
        multihash=result.multihash,
        told=[bytes(peer) for peer in result.told],
        failed=_refusals(result.failed),
        trace=trace(result.trace) if want_trace and result.trace else None,
    )


def name_record(record: NameRecord) -> pb.NameRecord:
    return pb.NameRecord(
        name=bytes(record.name),
        value=record.value,
        sequence=record.sequence,
        expires_unix_s=record.expires_unix_s,
        ttl_s=record.ttl_s,
        sources=[bytes(peer) for peer in record.sources],
    )


def published_name(published: PublishedName, *, want_trace: bool) -> pb.PublishedName:
    return pb.PublishedName(
        record=name_record(published.record), put=put_result(published.put, want_trace=want_trace)
    )


def event(ended: OperationEnded) -> pb.Event:
    return pb.Event(
        operation=ended.operation,
        key=ended.key,
        started_unix_s=ended.started_unix_s,
        took_s=ended.took_s,
        outcome=ended.outcome,
        peers=[bytes(peer) for peer in ended.peers],
        value_bytes=ended.value_bytes,
        trace=trace(ended.trace) if ended.trace else None,
    )


def discovered_peers(peers: Iterable[DiscoveredPeer]) -> pb.DiscoveredPeers:
    return pb.DiscoveredPeers(
        peers=[
            pb.DiscoveredPeer(
                id=bytes(peer.id), addrs=peer.addrs, how=peer.how, in_routing_table=peer.in_routing_table
            )
            for peer in peers
        ]
    )


def peer_info(peer: PeerId, addrs: Iterable[bytes]) -> pb.PeerInfo:
    return pb.PeerInfo(id=bytes(peer), addrs=list(addrs))


def peer_share(share: PeerShare) -> pb.PeerShare:
    return pb.PeerShare(
        peer=bytes(share.peer),
        blocks=share.blocks,
        bytes=share.bytes,
        duplicates=share.duplicates,
        bytes_per_s=share.rate,
        gone=share.gone or None,
        wire_bytes=share.wire_bytes,
    )


def _refusals(refusals: Iterable[Refusal]) -> list[pb.Refusal]:
    return [pb.Refusal(peer=bytes(each.peer), code=each.code) for each in refusals]


def trace(made: Trace) -> pb.Trace:
    return pb.Trace(
        target=made.target,
        asked=[
            pb.Asked(
                peer=bytes(ask.peer),
                hop=ask.hop,
                started_s=ask.started_s,
                took_s=ask.took_s,
                outcome=ask.outcome,
                closer=ask.closer,
                has_value=ask.has_value,
                heard_from=None if ask.heard_from is None else bytes(ask.heard_from),
            )
            for ask in made.asked
        ],
        stopped=made.stopped,
        took_s=made.took_s,
    )


def findings(found: Iterable[Finding]) -> pb.Findings:
    return pb.Findings(
        findings=[
            pb.Finding(
                check=each.check, code=each.code, severity=each.severity, text=each.text, advice=each.advice
            )
            for each in found
        ]
    )
