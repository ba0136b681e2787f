from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("type", "connect", "streamOpen", "streamHandler", "dht", "connManager", "disconnect", "pubsub", "prime")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        IDENTIFY: _ClassVar[Request.Type]
        CONNECT: _ClassVar[Request.Type]
        STREAM_OPEN: _ClassVar[Request.Type]
        STREAM_HANDLER: _ClassVar[Request.Type]
        DHT: _ClassVar[Request.Type]
        LIST_PEERS: _ClassVar[Request.Type]
        CONNMANAGER: _ClassVar[Request.Type]
        DISCONNECT: _ClassVar[Request.Type]
        PUBSUB: _ClassVar[Request.Type]
        PRIME: _ClassVar[Request.Type]
    IDENTIFY: Request.Type
    CONNECT: Request.Type
    STREAM_OPEN: Request.Type
    STREAM_HANDLER: Request.Type
    DHT: Request.Type
    LIST_PEERS: Request.Type
    CONNMANAGER: Request.Type
    DISCONNECT: Request.Type
    PUBSUB: Request.Type
    PRIME: Request.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    STREAMOPEN_FIELD_NUMBER: _ClassVar[int]
    STREAMHANDLER_FIELD_NUMBER: _ClassVar[int]
    DHT_FIELD_NUMBER: _ClassVar[int]
    CONNMANAGER_FIELD_NUMBER: _ClassVar[int]
    DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    PUBSUB_FIELD_NUMBER: _ClassVar[int]
    PRIME_FIELD_NUMBER: _ClassVar[int]
    type: Request.Type
    connect: ConnectRequest
    streamOpen: StreamOpenRequest
    streamHandler: StreamHandlerRequest
    dht: DHTRequest
    connManager: ConnManagerRequest
    disconnect: DisconnectRequest
    pubsub: PSRequest
    prime: PrimeRequest
    def __init__(self, type: _Optional[_Union[Request.Type, str]] = ..., connect: _Optional[_Union[ConnectRequest, _Mapping]] = ..., streamOpen: _Optional[_Union[StreamOpenRequest, _Mapping]] = ..., streamHandler: _Optional[_Union[StreamHandlerRequest, _Mapping]] = ..., dht: _Optional[_Union[DHTRequest, _Mapping]] = ..., connManager: _Optional[_Union[ConnManagerRequest, _Mapping]] = ..., disconnect: _Optional[_Union[DisconnectRequest, _Mapping]] = ..., pubsub: _Optional[_Union[PSRequest, _Mapping]] = ..., prime: _Optional[_Union[PrimeRequest, _Mapping]] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("type", "error", "streamInfo", "identify", "dht", "peers", "pubsub", "prime")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OK: _ClassVar[Response.Type]
        ERROR: _ClassVar[Response.Type]
    OK: Response.Type
    ERROR: Response.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STREAMINFO_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    DHT_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    PUBSUB_FIELD_NUMBER: _ClassVar[int]
    PRIME_FIELD_NUMBER: _ClassVar[int]
    type: Response.Type
    error: ErrorResponse
    streamInfo: StreamInfo
    identify: IdentifyResponse
    dht: DHTResponse
    peers: _containers.RepeatedCompositeFieldContainer[PeerInfo]
    pubsub: PSResponse
    prime: PrimeResponse
    def __init__(self, type: _Optional[_Union[Response.Type, str]] = ..., error: _Optional[_Union[ErrorResponse, _Mapping]] = ..., streamInfo: _Optional[_Union[StreamInfo, _Mapping]] = ..., identify: _Optional[_Union[IdentifyResponse, _Mapping]] = ..., dht: _Optional[_Union[DHTResponse, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[PeerInfo, _Mapping]]] = ..., pubsub: _Optional[_Union[PSResponse, _Mapping]] = ..., prime: _Optional[_Union[PrimeResponse, _Mapping]] = ...) -> None: ...

class ErrorResponse(_message.Message):
    __slots__ = ("msg", "code", "found", "wanted", "best", "trace")
    MSG_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    msg: str
    code: str
    found: int
    wanted: int
    best: bytes
    trace: Trace
    def __init__(self, msg: _Optional[str] = ..., code: _Optional[str] = ..., found: _Optional[int] = ..., wanted: _Optional[int] = ..., best: _Optional[bytes] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("id", "addrs")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, id: _Optional[bytes] = ..., addrs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ConnectRequest(_message.Message):
    __slots__ = ("peer", "addrs", "timeout")
    PEER_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    timeout: int
    def __init__(self, peer: _Optional[bytes] = ..., addrs: _Optional[_Iterable[bytes]] = ..., timeout: _Optional[int] = ...) -> None: ...

class DisconnectRequest(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    def __init__(self, peer: _Optional[bytes] = ...) -> None: ...

class StreamOpenRequest(_message.Message):
    __slots__ = ("peer", "proto", "timeout")
    PEER_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    proto: _containers.RepeatedScalarFieldContainer[str]
    timeout: int
    def __init__(self, peer: _Optional[bytes] = ..., proto: _Optional[_Iterable[str]] = ..., timeout: _Optional[int] = ...) -> None: ...

class StreamHandlerRequest(_message.Message):
    __slots__ = ("addr", "proto")
    ADDR_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    addr: bytes
    proto: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, addr: _Optional[bytes] = ..., proto: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("peer", "addr", "proto")
    PEER_FIELD_NUMBER: _ClassVar[int]
    ADDR_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    addr: bytes
    proto: str
    def __init__(self, peer: _Optional[bytes] = ..., addr: _Optional[bytes] = ..., proto: _Optional[str] = ...) -> None: ...

class PeerInfo(_message.Message):
    __slots__ = ("id", "addrs")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, id: _Optional[bytes] = ..., addrs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DHTRequest(_message.Message):
    __slots__ = ("type", "peer", "cid", "key", "value", "count", "timeout")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FIND_PEER: _ClassVar[DHTRequest.Type]
        FIND_PEERS_CONNECTED_TO_PEER: _ClassVar[DHTRequest.Type]
        FIND_PROVIDERS: _ClassVar[DHTRequest.Type]
        GET_CLOSEST_PEERS: _ClassVar[DHTRequest.Type]
        GET_PUBLIC_KEY: _ClassVar[DHTRequest.Type]
        GET_VALUE: _ClassVar[DHTRequest.Type]
        SEARCH_VALUE: _ClassVar[DHTRequest.Type]
        PUT_VALUE: _ClassVar[DHTRequest.Type]
        PROVIDE: _ClassVar[DHTRequest.Type]
    FIND_PEER: DHTRequest.Type
    FIND_PEERS_CONNECTED_TO_PEER: DHTRequest.Type
    FIND_PROVIDERS: DHTRequest.Type
    GET_CLOSEST_PEERS: DHTRequest.Type
    GET_PUBLIC_KEY: DHTRequest.Type
    GET_VALUE: DHTRequest.Type
    SEARCH_VALUE: DHTRequest.Type
    PUT_VALUE: DHTRequest.Type
    PROVIDE: DHTRequest.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    type: DHTRequest.Type
    peer: bytes
    cid: bytes
    key: bytes
    value: bytes
    count: int
    timeout: int
    def __init__(self, type: _Optional[_Union[DHTRequest.Type, str]] = ..., peer: _Optional[bytes] = ..., cid: _Optional[bytes] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., count: _Optional[int] = ..., timeout: _Optional[int] = ...) -> None: ...

class DHTResponse(_message.Message):
    __slots__ = ("type", "peer", "value")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        BEGIN: _ClassVar[DHTResponse.Type]
        VALUE: _ClassVar[DHTResponse.Type]
        END: _ClassVar[DHTResponse.Type]
    BEGIN: DHTResponse.Type
    VALUE: DHTResponse.Type
    END: DHTResponse.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type: DHTResponse.Type
    peer: PeerInfo
    value: bytes
    def __init__(self, type: _Optional[_Union[DHTResponse.Type, str]] = ..., peer: _Optional[_Union[PeerInfo, _Mapping]] = ..., value: _Optional[bytes] = ...) -> None: ...

class ConnManagerRequest(_message.Message):
    __slots__ = ("type", "peer", "tag", "weight")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TAG_PEER: _ClassVar[ConnManagerRequest.Type]
        UNTAG_PEER: _ClassVar[ConnManagerRequest.Type]
        TRIM: _ClassVar[ConnManagerRequest.Type]
    TAG_PEER: ConnManagerRequest.Type
    UNTAG_PEER: ConnManagerRequest.Type
    TRIM: ConnManagerRequest.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    type: ConnManagerRequest.Type
    peer: bytes
    tag: str
    weight: int
    def __init__(self, type: _Optional[_Union[ConnManagerRequest.Type, str]] = ..., peer: _Optional[bytes] = ..., tag: _Optional[str] = ..., weight: _Optional[int] = ...) -> None: ...

class PSRequest(_message.Message):
    __slots__ = ("type", "topic", "data")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        GET_TOPICS: _ClassVar[PSRequest.Type]
        LIST_PEERS: _ClassVar[PSRequest.Type]
        PUBLISH: _ClassVar[PSRequest.Type]
        SUBSCRIBE: _ClassVar[PSRequest.Type]
    GET_TOPICS: PSRequest.Type
    LIST_PEERS: PSRequest.Type
    PUBLISH: PSRequest.Type
    SUBSCRIBE: PSRequest.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    type: PSRequest.Type
    topic: str
    data: bytes
    def __init__(self, type: _Optional[_Union[PSRequest.Type, str]] = ..., topic: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class PSResponse(_message.Message):
    __slots__ = ("topics", "peerIDs")
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PEERIDS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedScalarFieldContainer[str]
    peerIDs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, topics: _Optional[_Iterable[str]] = ..., peerIDs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PrimeRequest(_message.Message):
    __slots__ = ("timeout_s", "want_trace", "put", "get", "delete", "put_many", "get_many", "provide", "stop_providing", "find_providers", "find_peer", "closest_peers", "discovered_peers", "dial", "ping", "status", "drain", "put_begin", "put_chunk", "put_commit", "get_chunked", "subscribe", "publish_name", "resolve_name", "trace_lookup", "examine")
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    WANT_TRACE_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    PUT_MANY_FIELD_NUMBER: _ClassVar[int]
    GET_MANY_FIELD_NUMBER: _ClassVar[int]
    PROVIDE_FIELD_NUMBER: _ClassVar[int]
    STOP_PROVIDING_FIELD_NUMBER: _ClassVar[int]
    FIND_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    FIND_PEER_FIELD_NUMBER: _ClassVar[int]
    CLOSEST_PEERS_FIELD_NUMBER: _ClassVar[int]
    DISCOVERED_PEERS_FIELD_NUMBER: _ClassVar[int]
    DIAL_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    PUT_BEGIN_FIELD_NUMBER: _ClassVar[int]
    PUT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    PUT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    GET_CHUNKED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_NAME_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_NAME_FIELD_NUMBER: _ClassVar[int]
    TRACE_LOOKUP_FIELD_NUMBER: _ClassVar[int]
    EXAMINE_FIELD_NUMBER: _ClassVar[int]
    timeout_s: float
    want_trace: bool
    put: PutRequest
    get: GetRequest
    delete: DeleteRequest
    put_many: PutManyRequest
    get_many: GetManyRequest
    provide: ProvideRequest
    stop_providing: StopProvidingRequest
    find_providers: FindProvidersRequest
    find_peer: FindPeerRequest
    closest_peers: ClosestPeersRequest
    discovered_peers: DiscoveredPeersRequest
    dial: DialRequest
    ping: PingRequest
    status: StatusRequest
    drain: DrainRequest
    put_begin: PutBegin
    put_chunk: PutChunk
    put_commit: PutCommit
    get_chunked: GetChunkedRequest
    subscribe: SubscribeRequest
    publish_name: PublishNameRequest
    resolve_name: ResolveNameRequest
    trace_lookup: TraceLookupRequest
    examine: ExamineRequest
    def __init__(self, timeout_s: _Optional[float] = ..., want_trace: bool = ..., put: _Optional[_Union[PutRequest, _Mapping]] = ..., get: _Optional[_Union[GetRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., put_many: _Optional[_Union[PutManyRequest, _Mapping]] = ..., get_many: _Optional[_Union[GetManyRequest, _Mapping]] = ..., provide: _Optional[_Union[ProvideRequest, _Mapping]] = ..., stop_providing: _Optional[_Union[StopProvidingRequest, _Mapping]] = ..., find_providers: _Optional[_Union[FindProvidersRequest, _Mapping]] = ..., find_peer: _Optional[_Union[FindPeerRequest, _Mapping]] = ..., closest_peers: _Optional[_Union[ClosestPeersRequest, _Mapping]] = ..., discovered_peers: _Optional[_Union[DiscoveredPeersRequest, _Mapping]] = ..., dial: _Optional[_Union[DialRequest, _Mapping]] = ..., ping: _Optional[_Union[PingRequest, _Mapping]] = ..., status: _Optional[_Union[StatusRequest, _Mapping]] = ..., drain: _Optional[_Union[DrainRequest, _Mapping]] = ..., put_begin: _Optional[_Union[PutBegin, _Mapping]] = ..., put_chunk: _Optional[_Union[PutChunk, _Mapping]] = ..., put_commit: _Optional[_Union[PutCommit, _Mapping]] = ..., get_chunked: _Optional[_Union[GetChunkedRequest, _Mapping]] = ..., subscribe: _Optional[_Union[SubscribeRequest, _Mapping]] = ..., publish_name: _Optional[_Union[PublishNameRequest, _Mapping]] = ..., resolve_name: _Optional[_Union[ResolveNameRequest, _Mapping]] = ..., trace_lookup: _Optional[_Union[TraceLookupRequest, _Mapping]] = ..., examine: _Optional[_Union[ExamineRequest, _Mapping]] = ...) -> None: ...

class PrimeResponse(_message.Message):
    __slots__ = ("more", "index", "failed", "put", "found", "provided", "stopped_providing", "discovered", "pong", "status", "drained", "peers", "done", "progress", "value_begin", "value_chunk", "subscribed", "event", "published_name", "name", "trace", "findings")
    MORE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    PROVIDED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_PROVIDING_FIELD_NUMBER: _ClassVar[int]
    DISCOVERED_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BEGIN_FIELD_NUMBER: _ClassVar[int]
    VALUE_CHUNK_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_NAME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    more: bool
    index: int
    failed: ErrorResponse
    put: PutResult
    found: FoundValue
    provided: ProvideResult
    stopped_providing: StopProvidingResult
    discovered: DiscoveredPeers
    pong: PingResult
    status: StatusResult
    drained: DrainResult
    peers: PeerList
    done: Done
    progress: Progress
    value_begin: ValueBegin
    value_chunk: ValueChunk
    subscribed: Subscribed
    event: Event
    published_name: PublishedName
    name: NameRecord
    trace: Trace
    findings: Findings
    def __init__(self, more: bool = ..., index: _Optional[int] = ..., failed: _Optional[_Union[ErrorResponse, _Mapping]] = ..., put: _Optional[_Union[PutResult, _Mapping]] = ..., found: _Optional[_Union[FoundValue, _Mapping]] = ..., provided: _Optional[_Union[ProvideResult, _Mapping]] = ..., stopped_providing: _Optional[_Union[StopProvidingResult, _Mapping]] = ..., discovered: _Optional[_Union[DiscoveredPeers, _Mapping]] = ..., pong: _Optional[_Union[PingResult, _Mapping]] = ..., status: _Optional[_Union[StatusResult, _Mapping]] = ..., drained: _Optional[_Union[DrainResult, _Mapping]] = ..., peers: _Optional[_Union[PeerList, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., value_begin: _Optional[_Union[ValueBegin, _Mapping]] = ..., value_chunk: _Optional[_Union[ValueChunk, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., published_name: _Optional[_Union[PublishedName, _Mapping]] = ..., name: _Optional[_Union[NameRecord, _Mapping]] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., findings: _Optional[_Union[Findings, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key", "value", "ttl_s", "min_holders", "once")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    MIN_HOLDERS_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    ttl_s: float
    min_holders: int
    once: bool
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., ttl_s: _Optional[float] = ..., min_holders: _Optional[int] = ..., once: bool = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key", "quorum")
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    quorum: int
    def __init__(self, key: _Optional[bytes] = ..., quorum: _Optional[int] = ...) -> None: ...

class PutBegin(_message.Message):
    __slots__ = ("key", "size", "ttl_s", "min_holders", "once")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    MIN_HOLDERS_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    size: int
    ttl_s: float
    min_holders: int
    once: bool
    def __init__(self, key: _Optional[bytes] = ..., size: _Optional[int] = ..., ttl_s: _Optional[float] = ..., min_holders: _Optional[int] = ..., once: bool = ...) -> None: ...

class PutChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PutCommit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetChunkedRequest(_message.Message):
    __slots__ = ("key", "quorum")
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    quorum: int
    def __init__(self, key: _Optional[bytes] = ..., quorum: _Optional[int] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("operations",)
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, operations: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class PutManyRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PutRequest]
    def __init__(self, items: _Optional[_Iterable[_Union[PutRequest, _Mapping]]] = ...) -> None: ...

class GetManyRequest(_message.Message):
    __slots__ = ("keys", "quorum")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    quorum: int
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ..., quorum: _Optional[int] = ...) -> None: ...

class ProvideRequest(_message.Message):
    __slots__ = ("cid",)
    CID_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    def __init__(self, cid: _Optional[bytes] = ...) -> None: ...

class StopProvidingRequest(_message.Message):
    __slots__ = ("cid",)
    CID_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    def __init__(self, cid: _Optional[bytes] = ...) -> None: ...

class FindProvidersRequest(_message.Message):
    __slots__ = ("cid", "limit")
    CID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    limit: int
    def __init__(self, cid: _Optional[bytes] = ..., limit: _Optional[int] = ...) -> None: ...

class FindPeerRequest(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    def __init__(self, peer: _Optional[bytes] = ...) -> None: ...

class ClosestPeersRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class DiscoveredPeersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DialRequest(_message.Message):
    __slots__ = ("addr",)
    ADDR_FIELD_NUMBER: _ClassVar[int]
    addr: str
    def __init__(self, addr: _Optional[str] = ...) -> None: ...

class PingRequest(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    def __init__(self, peer: _Optional[bytes] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PublishNameRequest(_message.Message):
    __slots__ = ("value", "key", "lifetime_s", "once")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    value: str
    key: str
    lifetime_s: float
    once: bool
    def __init__(self, value: _Optional[str] = ..., key: _Optional[str] = ..., lifetime_s: _Optional[float] = ..., once: bool = ...) -> None: ...

class ResolveNameRequest(_message.Message):
    __slots__ = ("name", "quorum")
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    quorum: int
    def __init__(self, name: _Optional[bytes] = ..., quorum: _Optional[int] = ...) -> None: ...

class TraceLookupRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class ExamineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Asked(_message.Message):
    __slots__ = ("peer", "hop", "started_s", "took_s", "outcome", "closer", "has_value", "heard_from")
    PEER_FIELD_NUMBER: _ClassVar[int]
    HOP_FIELD_NUMBER: _ClassVar[int]
    STARTED_S_FIELD_NUMBER: _ClassVar[int]
    TOOK_S_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CLOSER_FIELD_NUMBER: _ClassVar[int]
    HAS_VALUE_FIELD_NUMBER: _ClassVar[int]
    HEARD_FROM_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    hop: int
    started_s: float
    took_s: float
    outcome: str
    closer: int
    has_value: bool
    heard_from: bytes
    def __init__(self, peer: _Optional[bytes] = ..., hop: _Optional[int] = ..., started_s: _Optional[float] = ..., took_s: _Optional[float] = ..., outcome: _Optional[str] = ..., closer: _Optional[int] = ..., has_value: bool = ..., heard_from: _Optional[bytes] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("target", "asked", "stopped", "took_s")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    TOOK_S_FIELD_NUMBER: _ClassVar[int]
    target: bytes
    asked: _containers.RepeatedCompositeFieldContainer[Asked]
    stopped: str
    took_s: float
    def __init__(self, target: _Optional[bytes] = ..., asked: _Optional[_Iterable[_Union[Asked, _Mapping]]] = ..., stopped: _Optional[str] = ..., took_s: _Optional[float] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("peer", "code")
    PEER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    code: str
    def __init__(self, peer: _Optional[bytes] = ..., code: _Optional[str] = ...) -> None: ...

class PutResult(_message.Message):
    __slots__ = ("key", "holders", "refused", "wanted", "replication_factor", "degraded", "sequence", "expires_unix_s", "trace")
    KEY_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    holders: _containers.RepeatedScalarFieldContainer[bytes]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    wanted: int
    replication_factor: int
    degraded: bool
    sequence: int
    expires_unix_s: float
    trace: Trace
    def __init__(self, key: _Optional[bytes] = ..., holders: _Optional[_Iterable[bytes]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., wanted: _Optional[int] = ..., replication_factor: _Optional[int] = ..., degraded: bool = ..., sequence: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class FoundValue(_message.Message):
    __slots__ = ("key", "value", "authenticated", "sources", "sequence", "writer_unix_ms", "expires_unix_s", "trace", "payload")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WRITER_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    authenticated: bool
    sources: _containers.RepeatedScalarFieldContainer[bytes]
    sequence: int
    writer_unix_ms: int
    expires_unix_s: float
    trace: Trace
    payload: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., authenticated: bool = ..., sources: _Optional[_Iterable[bytes]] = ..., sequence: _Optional[int] = ..., writer_unix_ms: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class NameRecord(_message.Message):
    __slots__ = ("name", "value", "sequence", "expires_unix_s", "ttl_s", "sources")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    value: str
    sequence: int
    expires_unix_s: float
    ttl_s: float
    sources: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[bytes] = ..., value: _Optional[str] = ..., sequence: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., ttl_s: _Optional[float] = ..., sources: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PublishedName(_message.Message):
    __slots__ = ("record", "put")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    record: NameRecord
    put: PutResult
    def __init__(self, record: _Optional[_Union[NameRecord, _Mapping]] = ..., put: _Optional[_Union[PutResult, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "done_bytes", "total_bytes")
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TRANSFER: _ClassVar[Progress.Stage]
        LOOKUP: _ClassVar[Progress.Stage]
        STORE: _ClassVar[Progress.Stage]
    TRANSFER: Progress.Stage
    LOOKUP: Progress.Stage
    STORE: Progress.Stage
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    stage: Progress.Stage
    done_bytes: int
    total_bytes: int
    def __init__(self, stage: _Optional[_Union[Progress.Stage, str]] = ..., done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class ValueBegin(_message.Message):
    __slots__ = ("size", "found")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    size: int
    found: FoundValue
    def __init__(self, size: _Optional[int] = ..., found: _Optional[_Union[FoundValue, _Mapping]] = ...) -> None: ...

class ValueChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Event(_message.Message):
    __slots__ = ("operation", "key", "started_unix_s", "took_s", "outcome", "peers", "value_bytes", "trace")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TOOK_S_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    operation: str
    key: bytes
    started_unix_s: float
    took_s: float
    outcome: str
    peers: _containers.RepeatedScalarFieldContainer[bytes]
    value_bytes: int
    trace: Trace
    def __init__(self, operation: _Optional[str] = ..., key: _Optional[bytes] = ..., started_unix_s: _Optional[float] = ..., took_s: _Optional[float] = ..., outcome: _Optional[str] = ..., peers: _Optional[_Iterable[bytes]] = ..., value_bytes: _Optional[int] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class ProvideResult(_message.Message):
    __slots__ = ("multihash", "told", "failed", "trace")
    MULTIHASH_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    multihash: bytes
    told: _containers.RepeatedScalarFieldContainer[bytes]
    failed: _containers.RepeatedCompositeFieldContainer[Refusal]
    trace: Trace
    def __init__(self, multihash: _Optional[bytes] = ..., told: _Optional[_Iterable[bytes]] = ..., failed: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class StopProvidingResult(_message.Message):
    __slots__ = ("was_provided",)
    WAS_PROVIDED_FIELD_NUMBER: _ClassVar[int]
    was_provided: bool
    def __init__(self, was_provided: bool = ...) -> None: ...

class DiscoveredPeer(_message.Message):
    __slots__ = ("id", "addrs", "how", "in_routing_table")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    IN_ROUTING_TABLE_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    addrs: _containers.RepeatedScalarFieldContainer[str]
    how: str
    in_routing_table: bool
    def __init__(self, id: _Optional[bytes] = ..., addrs: _Optional[_Iterable[str]] = ..., how: _Optional[str] = ..., in_routing_table: bool = ...) -> None: ...

class DiscoveredPeers(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[DiscoveredPeer]
    def __init__(self, peers: _Optional[_Iterable[_Union[DiscoveredPeer, _Mapping]]] = ...) -> None: ...

class PeerList(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[PeerInfo]
    def __init__(self, peers: _Optional[_Iterable[_Union[PeerInfo, _Mapping]]] = ...) -> None: ...

class PingResult(_message.Message):
    __slots__ = ("round_trip_s",)
    ROUND_TRIP_S_FIELD_NUMBER: _ClassVar[int]
    round_trip_s: float
    def __init__(self, round_trip_s: _Optional[float] = ...) -> None: ...

class StatusResult(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    def __init__(self, json: _Optional[bytes] = ...) -> None: ...

class DrainResult(_message.Message):
    __slots__ = ("handed_over", "left_over")
    HANDED_OVER_FIELD_NUMBER: _ClassVar[int]
    LEFT_OVER_FIELD_NUMBER: _ClassVar[int]
    handed_over: int
    left_over: int
    def __init__(self, handed_over: _Optional[int] = ..., left_over: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("check", "code", "severity", "text", "advice")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    check: str
    code: str
    severity: str
    text: str
    advice: str
    def __init__(self, check: _Optional[str] = ..., code: _Optional[str] = ..., severity: _Optional[str] = ..., text: _Optional[str] = ..., advice: _Optional[str] = ...) -> None: ...

class Findings(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...
