from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE: _ClassVar[ContentKind]
    DIRECTORY: _ClassVar[ContentKind]
    SYMLINK: _ClassVar[ContentKind]
FILE: ContentKind
DIRECTORY: ContentKind
SYMLINK: ContentKind

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
    __slots__ = ("timeout_s", "want_trace", "put", "get", "delete", "put_many", "get_many", "provide", "stop_providing", "find_providers", "find_peer", "closest_peers", "discovered_peers", "dial", "ping", "status", "drain", "put_begin", "put_chunk", "put_commit", "get_chunked", "subscribe", "publish_name", "resolve_name", "trace_lookup", "examine", "add_begin", "add_entry", "add_data", "add_commit", "read_content", "export_content", "list_directory", "pin", "unpin", "list_pins", "collect", "stat_dag", "get_block", "put_block", "publish_model", "fetch_model", "describe_model", "list_versions", "list_models", "remove_model", "verify_model", "find_tensor", "set_alias", "remove_alias", "list_aliases", "pull_model", "wait_kept", "publish_checkpoint", "wait_checkpoint", "describe_checkpoint", "fetch_checkpoint", "list_checkpoints", "pin_checkpoint", "remove_checkpoint", "pull_checkpoint")
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
    ADD_BEGIN_FIELD_NUMBER: _ClassVar[int]
    ADD_ENTRY_FIELD_NUMBER: _ClassVar[int]
    ADD_DATA_FIELD_NUMBER: _ClassVar[int]
    ADD_COMMIT_FIELD_NUMBER: _ClassVar[int]
    READ_CONTENT_FIELD_NUMBER: _ClassVar[int]
    EXPORT_CONTENT_FIELD_NUMBER: _ClassVar[int]
    LIST_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    UNPIN_FIELD_NUMBER: _ClassVar[int]
    LIST_PINS_FIELD_NUMBER: _ClassVar[int]
    COLLECT_FIELD_NUMBER: _ClassVar[int]
    STAT_DAG_FIELD_NUMBER: _ClassVar[int]
    GET_BLOCK_FIELD_NUMBER: _ClassVar[int]
    PUT_BLOCK_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_MODEL_FIELD_NUMBER: _ClassVar[int]
    FETCH_MODEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIBE_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIST_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    LIST_MODELS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_MODEL_FIELD_NUMBER: _ClassVar[int]
    VERIFY_MODEL_FIELD_NUMBER: _ClassVar[int]
    FIND_TENSOR_FIELD_NUMBER: _ClassVar[int]
    SET_ALIAS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_ALIAS_FIELD_NUMBER: _ClassVar[int]
    LIST_ALIASES_FIELD_NUMBER: _ClassVar[int]
    PULL_MODEL_FIELD_NUMBER: _ClassVar[int]
    WAIT_KEPT_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    WAIT_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DESCRIBE_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FETCH_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LIST_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    PIN_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PULL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
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
    add_begin: AddBegin
    add_entry: AddEntry
    add_data: AddData
    add_commit: AddCommit
    read_content: ReadContentRequest
    export_content: ExportRequest
    list_directory: ListDirectoryRequest
    pin: PinRequest
    unpin: UnpinRequest
    list_pins: ListPinsRequest
    collect: CollectRequest
    stat_dag: StatDagRequest
    get_block: GetBlockRequest
    put_block: PutBlockRequest
    publish_model: PublishModelRequest
    fetch_model: FetchModelRequest
    describe_model: DescribeModelRequest
    list_versions: ListVersionsRequest
    list_models: ListModelsRequest
    remove_model: RemoveModelRequest
    verify_model: VerifyModelRequest
    find_tensor: FindTensorRequest
    set_alias: SetAliasRequest
    remove_alias: RemoveAliasRequest
    list_aliases: ListAliasesRequest
    pull_model: PullModelRequest
    wait_kept: WaitKeptRequest
    publish_checkpoint: PublishCheckpointRequest
    wait_checkpoint: WaitCheckpointRequest
    describe_checkpoint: DescribeCheckpointRequest
    fetch_checkpoint: FetchCheckpointRequest
    list_checkpoints: ListCheckpointsRequest
    pin_checkpoint: PinCheckpointRequest
    remove_checkpoint: RemoveCheckpointRequest
    pull_checkpoint: PullCheckpointRequest
    def __init__(self, timeout_s: _Optional[float] = ..., want_trace: bool = ..., put: _Optional[_Union[PutRequest, _Mapping]] = ..., get: _Optional[_Union[GetRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., put_many: _Optional[_Union[PutManyRequest, _Mapping]] = ..., get_many: _Optional[_Union[GetManyRequest, _Mapping]] = ..., provide: _Optional[_Union[ProvideRequest, _Mapping]] = ..., stop_providing: _Optional[_Union[StopProvidingRequest, _Mapping]] = ..., find_providers: _Optional[_Union[FindProvidersRequest, _Mapping]] = ..., find_peer: _Optional[_Union[FindPeerRequest, _Mapping]] = ..., closest_peers: _Optional[_Union[ClosestPeersRequest, _Mapping]] = ..., discovered_peers: _Optional[_Union[DiscoveredPeersRequest, _Mapping]] = ..., dial: _Optional[_Union[DialRequest, _Mapping]] = ..., ping: _Optional[_Union[PingRequest, _Mapping]] = ..., status: _Optional[_Union[StatusRequest, _Mapping]] = ..., drain: _Optional[_Union[DrainRequest, _Mapping]] = ..., put_begin: _Optional[_Union[PutBegin, _Mapping]] = ..., put_chunk: _Optional[_Union[PutChunk, _Mapping]] = ..., put_commit: _Optional[_Union[PutCommit, _Mapping]] = ..., get_chunked: _Optional[_Union[GetChunkedRequest, _Mapping]] = ..., subscribe: _Optional[_Union[SubscribeRequest, _Mapping]] = ..., publish_name: _Optional[_Union[PublishNameRequest, _Mapping]] = ..., resolve_name: _Optional[_Union[ResolveNameRequest, _Mapping]] = ..., trace_lookup: _Optional[_Union[TraceLookupRequest, _Mapping]] = ..., examine: _Optional[_Union[ExamineRequest, _Mapping]] = ..., add_begin: _Optional[_Union[AddBegin, _Mapping]] = ..., add_entry: _Optional[_Union[AddEntry, _Mapping]] = ..., add_data: _Optional[_Union[AddData, _Mapping]] = ..., add_commit: _Optional[_Union[AddCommit, _Mapping]] = ..., read_content: _Optional[_Union[ReadContentRequest, _Mapping]] = ..., export_content: _Optional[_Union[ExportRequest, _Mapping]] = ..., list_directory: _Optional[_Union[ListDirectoryRequest, _Mapping]] = ..., pin: _Optional[_Union[PinRequest, _Mapping]] = ..., unpin: _Optional[_Union[UnpinRequest, _Mapping]] = ..., list_pins: _Optional[_Union[ListPinsRequest, _Mapping]] = ..., collect: _Optional[_Union[CollectRequest, _Mapping]] = ..., stat_dag: _Optional[_Union[StatDagRequest, _Mapping]] = ..., get_block: _Optional[_Union[GetBlockRequest, _Mapping]] = ..., put_block: _Optional[_Union[PutBlockRequest, _Mapping]] = ..., publish_model: _Optional[_Union[PublishModelRequest, _Mapping]] = ..., fetch_model: _Optional[_Union[FetchModelRequest, _Mapping]] = ..., describe_model: _Optional[_Union[DescribeModelRequest, _Mapping]] = ..., list_versions: _Optional[_Union[ListVersionsRequest, _Mapping]] = ..., list_models: _Optional[_Union[ListModelsRequest, _Mapping]] = ..., remove_model: _Optional[_Union[RemoveModelRequest, _Mapping]] = ..., verify_model: _Optional[_Union[VerifyModelRequest, _Mapping]] = ..., find_tensor: _Optional[_Union[FindTensorRequest, _Mapping]] = ..., set_alias: _Optional[_Union[SetAliasRequest, _Mapping]] = ..., remove_alias: _Optional[_Union[RemoveAliasRequest, _Mapping]] = ..., list_aliases: _Optional[_Union[ListAliasesRequest, _Mapping]] = ..., pull_model: _Optional[_Union[PullModelRequest, _Mapping]] = ..., wait_kept: _Optional[_Union[WaitKeptRequest, _Mapping]] = ..., publish_checkpoint: _Optional[_Union[PublishCheckpointRequest, _Mapping]] = ..., wait_checkpoint: _Optional[_Union[WaitCheckpointRequest, _Mapping]] = ..., describe_checkpoint: _Optional[_Union[DescribeCheckpointRequest, _Mapping]] = ..., fetch_checkpoint: _Optional[_Union[FetchCheckpointRequest, _Mapping]] = ..., list_checkpoints: _Optional[_Union[ListCheckpointsRequest, _Mapping]] = ..., pin_checkpoint: _Optional[_Union[PinCheckpointRequest, _Mapping]] = ..., remove_checkpoint: _Optional[_Union[RemoveCheckpointRequest, _Mapping]] = ..., pull_checkpoint: _Optional[_Union[PullCheckpointRequest, _Mapping]] = ...) -> None: ...

class PrimeResponse(_message.Message):
    __slots__ = ("more", "index", "failed", "put", "found", "provided", "stopped_providing", "discovered", "pong", "status", "drained", "peers", "done", "progress", "value_begin", "value_chunk", "subscribed", "event", "published_name", "name", "trace", "findings", "added", "content_chunk", "content_entry", "directory", "pins", "unpinned", "collected", "dag_stat", "block", "model", "versions", "kept_models", "removed_models", "tensor", "removed_alias", "aliases", "kept_blocks", "job", "checkpoint", "checkpoint_steps", "removed_checkpoints")
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
    ADDED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ENTRY_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    UNPINNED_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_FIELD_NUMBER: _ClassVar[int]
    DAG_STAT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    KEPT_MODELS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_MODELS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    REMOVED_ALIAS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    KEPT_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_STEPS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
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
    added: Content
    content_chunk: ContentChunk
    content_entry: ContentEntry
    directory: DirectoryEntries
    pins: Pins
    unpinned: Unpinned
    collected: Collected
    dag_stat: DagStat
    block: Block
    model: Model
    versions: ModelVersions
    kept_models: KeptModels
    removed_models: RemovedModels
    tensor: ModelTensor
    removed_alias: RemovedAlias
    aliases: Aliases
    kept_blocks: KeptBlocks
    job: Job
    checkpoint: Checkpoint
    checkpoint_steps: CheckpointSteps
    removed_checkpoints: RemovedCheckpoints
    def __init__(self, more: bool = ..., index: _Optional[int] = ..., failed: _Optional[_Union[ErrorResponse, _Mapping]] = ..., put: _Optional[_Union[PutResult, _Mapping]] = ..., found: _Optional[_Union[FoundValue, _Mapping]] = ..., provided: _Optional[_Union[ProvideResult, _Mapping]] = ..., stopped_providing: _Optional[_Union[StopProvidingResult, _Mapping]] = ..., discovered: _Optional[_Union[DiscoveredPeers, _Mapping]] = ..., pong: _Optional[_Union[PingResult, _Mapping]] = ..., status: _Optional[_Union[StatusResult, _Mapping]] = ..., drained: _Optional[_Union[DrainResult, _Mapping]] = ..., peers: _Optional[_Union[PeerList, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., value_begin: _Optional[_Union[ValueBegin, _Mapping]] = ..., value_chunk: _Optional[_Union[ValueChunk, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., published_name: _Optional[_Union[PublishedName, _Mapping]] = ..., name: _Optional[_Union[NameRecord, _Mapping]] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., findings: _Optional[_Union[Findings, _Mapping]] = ..., added: _Optional[_Union[Content, _Mapping]] = ..., content_chunk: _Optional[_Union[ContentChunk, _Mapping]] = ..., content_entry: _Optional[_Union[ContentEntry, _Mapping]] = ..., directory: _Optional[_Union[DirectoryEntries, _Mapping]] = ..., pins: _Optional[_Union[Pins, _Mapping]] = ..., unpinned: _Optional[_Union[Unpinned, _Mapping]] = ..., collected: _Optional[_Union[Collected, _Mapping]] = ..., dag_stat: _Optional[_Union[DagStat, _Mapping]] = ..., block: _Optional[_Union[Block, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., versions: _Optional[_Union[ModelVersions, _Mapping]] = ..., kept_models: _Optional[_Union[KeptModels, _Mapping]] = ..., removed_models: _Optional[_Union[RemovedModels, _Mapping]] = ..., tensor: _Optional[_Union[ModelTensor, _Mapping]] = ..., removed_alias: _Optional[_Union[RemovedAlias, _Mapping]] = ..., aliases: _Optional[_Union[Aliases, _Mapping]] = ..., kept_blocks: _Optional[_Union[KeptBlocks, _Mapping]] = ..., job: _Optional[_Union[Job, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., checkpoint_steps: _Optional[_Union[CheckpointSteps, _Mapping]] = ..., removed_checkpoints: _Optional[_Union[RemovedCheckpoints, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key", "value", "ttl_s", "min_holders", "once", "compress")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    MIN_HOLDERS_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    COMPRESS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    ttl_s: float
    min_holders: int
    once: bool
    compress: str
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., ttl_s: _Optional[float] = ..., min_holders: _Optional[int] = ..., once: bool = ..., compress: _Optional[str] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key", "quorum")
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    quorum: int
    def __init__(self, key: _Optional[bytes] = ..., quorum: _Optional[int] = ...) -> None: ...

class PutBegin(_message.Message):
    __slots__ = ("key", "size", "ttl_s", "min_holders", "once", "compress")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    MIN_HOLDERS_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    COMPRESS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    size: int
    ttl_s: float
    min_holders: int
    once: bool
    compress: str
    def __init__(self, key: _Optional[bytes] = ..., size: _Optional[int] = ..., ttl_s: _Optional[float] = ..., min_holders: _Optional[int] = ..., once: bool = ..., compress: _Optional[str] = ...) -> None: ...

class PutChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PutCommit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetChunkedRequest(_message.Message):
    __slots__ = ("key", "quorum", "max_bytes")
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    quorum: int
    max_bytes: int
    def __init__(self, key: _Optional[bytes] = ..., quorum: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("key", "holders", "refused", "wanted", "replication_factor", "degraded", "sequence", "expires_unix_s", "trace", "root", "receipts", "receipts_refused", "value_bytes", "stored_bytes", "codec")
    KEY_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    holders: _containers.RepeatedScalarFieldContainer[bytes]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    wanted: int
    replication_factor: int
    degraded: bool
    sequence: int
    expires_unix_s: float
    trace: Trace
    root: bytes
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    receipts_refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    value_bytes: int
    stored_bytes: int
    codec: str
    def __init__(self, key: _Optional[bytes] = ..., holders: _Optional[_Iterable[bytes]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., wanted: _Optional[int] = ..., replication_factor: _Optional[int] = ..., degraded: bool = ..., sequence: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., root: _Optional[bytes] = ..., receipts: _Optional[_Iterable[bytes]] = ..., receipts_refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., value_bytes: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., codec: _Optional[str] = ...) -> None: ...

class FoundValue(_message.Message):
    __slots__ = ("key", "value", "authenticated", "sources", "sequence", "writer_unix_ms", "expires_unix_s", "trace", "payload", "root")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WRITER_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    authenticated: bool
    sources: _containers.RepeatedScalarFieldContainer[bytes]
    sequence: int
    writer_unix_ms: int
    expires_unix_s: float
    trace: Trace
    payload: bytes
    root: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., authenticated: bool = ..., sources: _Optional[_Iterable[bytes]] = ..., sequence: _Optional[int] = ..., writer_unix_ms: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., payload: _Optional[bytes] = ..., root: _Optional[bytes] = ...) -> None: ...

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
        KEEP: _ClassVar[Progress.Stage]
    TRANSFER: Progress.Stage
    LOOKUP: Progress.Stage
    STORE: Progress.Stage
    KEEP: Progress.Stage
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

class AddBegin(_message.Message):
    __slots__ = ("profile", "pin_name", "ttl_s", "no_pin", "no_announce")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PIN_NAME_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    NO_PIN_FIELD_NUMBER: _ClassVar[int]
    NO_ANNOUNCE_FIELD_NUMBER: _ClassVar[int]
    profile: str
    pin_name: str
    ttl_s: float
    no_pin: bool
    no_announce: bool
    def __init__(self, profile: _Optional[str] = ..., pin_name: _Optional[str] = ..., ttl_s: _Optional[float] = ..., no_pin: bool = ..., no_announce: bool = ...) -> None: ...

class AddEntry(_message.Message):
    __slots__ = ("path", "kind", "target", "descriptor", "in_place")
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    IN_PLACE_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    kind: ContentKind
    target: bytes
    descriptor: bool
    in_place: bytes
    def __init__(self, path: _Optional[bytes] = ..., kind: _Optional[_Union[ContentKind, str]] = ..., target: _Optional[bytes] = ..., descriptor: bool = ..., in_place: _Optional[bytes] = ...) -> None: ...

class AddData(_message.Message):
    __slots__ = ("data", "last")
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    last: bool
    def __init__(self, data: _Optional[bytes] = ..., last: bool = ...) -> None: ...

class AddCommit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Content(_message.Message):
    __slots__ = ("cid", "path", "content_bytes", "dag_bytes")
    CID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    path: bytes
    content_bytes: int
    dag_bytes: int
    def __init__(self, cid: _Optional[bytes] = ..., path: _Optional[bytes] = ..., content_bytes: _Optional[int] = ..., dag_bytes: _Optional[int] = ...) -> None: ...

class ReadContentRequest(_message.Message):
    __slots__ = ("cid", "path", "offset", "length")
    CID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    path: str
    offset: int
    length: int
    def __init__(self, cid: _Optional[bytes] = ..., path: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ContentChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("cid", "path")
    CID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    path: str
    def __init__(self, cid: _Optional[bytes] = ..., path: _Optional[str] = ...) -> None: ...

class ContentEntry(_message.Message):
    __slots__ = ("path", "kind", "target", "size")
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    kind: ContentKind
    target: bytes
    size: int
    def __init__(self, path: _Optional[bytes] = ..., kind: _Optional[_Union[ContentKind, str]] = ..., target: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class ListDirectoryRequest(_message.Message):
    __slots__ = ("cid", "path")
    CID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    path: str
    def __init__(self, cid: _Optional[bytes] = ..., path: _Optional[str] = ...) -> None: ...

class DirectoryEntry(_message.Message):
    __slots__ = ("name", "cid", "dag_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    DAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    cid: bytes
    dag_bytes: int
    def __init__(self, name: _Optional[str] = ..., cid: _Optional[bytes] = ..., dag_bytes: _Optional[int] = ...) -> None: ...

class DirectoryEntries(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[DirectoryEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[DirectoryEntry, _Mapping]]] = ...) -> None: ...

class PinRequest(_message.Message):
    __slots__ = ("cid", "name", "direct", "ttl_s", "no_announce")
    CID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    NO_ANNOUNCE_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    name: str
    direct: bool
    ttl_s: float
    no_announce: bool
    def __init__(self, cid: _Optional[bytes] = ..., name: _Optional[str] = ..., direct: bool = ..., ttl_s: _Optional[float] = ..., no_announce: bool = ...) -> None: ...

class UnpinRequest(_message.Message):
    __slots__ = ("cid", "name")
    CID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    name: str
    def __init__(self, cid: _Optional[bytes] = ..., name: _Optional[str] = ...) -> None: ...

class Unpinned(_message.Message):
    __slots__ = ("pins",)
    PINS_FIELD_NUMBER: _ClassVar[int]
    pins: int
    def __init__(self, pins: _Optional[int] = ...) -> None: ...

class ListPinsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Pin(_message.Message):
    __slots__ = ("cid", "name", "recursive", "partial", "created_unix_s", "expires_unix_s")
    CID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    name: str
    recursive: bool
    partial: bool
    created_unix_s: float
    expires_unix_s: float
    def __init__(self, cid: _Optional[bytes] = ..., name: _Optional[str] = ..., recursive: bool = ..., partial: bool = ..., created_unix_s: _Optional[float] = ..., expires_unix_s: _Optional[float] = ...) -> None: ...

class Pins(_message.Message):
    __slots__ = ("pins",)
    PINS_FIELD_NUMBER: _ClassVar[int]
    pins: _containers.RepeatedCompositeFieldContainer[Pin]
    def __init__(self, pins: _Optional[_Iterable[_Union[Pin, _Mapping]]] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BrokenPin(_message.Message):
    __slots__ = ("pin", "cid", "code")
    PIN_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    pin: Pin
    cid: bytes
    code: str
    def __init__(self, pin: _Optional[_Union[Pin, _Mapping]] = ..., cid: _Optional[bytes] = ..., code: _Optional[str] = ...) -> None: ...

class Collected(_message.Message):
    __slots__ = ("blocks", "bytes", "failed", "kept", "broken", "undecided", "undecided_bytes")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    UNDECIDED_FIELD_NUMBER: _ClassVar[int]
    UNDECIDED_BYTES_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    bytes: int
    failed: int
    kept: int
    broken: _containers.RepeatedCompositeFieldContainer[BrokenPin]
    undecided: int
    undecided_bytes: int
    def __init__(self, blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., failed: _Optional[int] = ..., kept: _Optional[int] = ..., broken: _Optional[_Iterable[_Union[BrokenPin, _Mapping]]] = ..., undecided: _Optional[int] = ..., undecided_bytes: _Optional[int] = ...) -> None: ...

class StatDagRequest(_message.Message):
    __slots__ = ("cid",)
    CID_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    def __init__(self, cid: _Optional[bytes] = ...) -> None: ...

class DagStat(_message.Message):
    __slots__ = ("blocks", "bytes", "missing", "pins")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    bytes: int
    missing: int
    pins: _containers.RepeatedCompositeFieldContainer[Pin]
    def __init__(self, blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., missing: _Optional[int] = ..., pins: _Optional[_Iterable[_Union[Pin, _Mapping]]] = ...) -> None: ...

class GetBlockRequest(_message.Message):
    __slots__ = ("cid",)
    CID_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    def __init__(self, cid: _Optional[bytes] = ...) -> None: ...

class PutBlockRequest(_message.Message):
    __slots__ = ("data", "codec")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    codec: int
    def __init__(self, data: _Optional[bytes] = ..., codec: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("cid", "data")
    CID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    cid: bytes
    data: bytes
    def __init__(self, cid: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

class PublishModelRequest(_message.Message):
    __slots__ = ("root", "name", "version", "file_name", "architecture", "training_config", "metadata", "key")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    name: str
    version: int
    file_name: str
    architecture: str
    training_config: str
    metadata: _containers.ScalarMap[str, str]
    key: str
    def __init__(self, root: _Optional[bytes] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., file_name: _Optional[str] = ..., architecture: _Optional[str] = ..., training_config: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., key: _Optional[str] = ...) -> None: ...

class FetchModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class PullModelRequest(_message.Message):
    __slots__ = ("name", "target", "parent_device", "parent_inode")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PARENT_DEVICE_FIELD_NUMBER: _ClassVar[int]
    PARENT_INODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: bytes
    parent_device: int
    parent_inode: int
    def __init__(self, name: _Optional[str] = ..., target: _Optional[bytes] = ..., parent_device: _Optional[int] = ..., parent_inode: _Optional[int] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class VerifyModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "cid", "manifest", "put", "peers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    cid: bytes
    manifest: bytes
    put: PutResult
    peers: _containers.RepeatedCompositeFieldContainer[PeerShare]
    def __init__(self, name: _Optional[str] = ..., cid: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., put: _Optional[_Union[PutResult, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[PeerShare, _Mapping]]] = ...) -> None: ...

class PeerShare(_message.Message):
    __slots__ = ("peer", "blocks", "bytes", "duplicates", "bytes_per_s", "gone", "wire_bytes")
    PEER_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    blocks: int
    bytes: int
    duplicates: int
    bytes_per_s: float
    gone: str
    wire_bytes: int
    def __init__(self, peer: _Optional[bytes] = ..., blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., duplicates: _Optional[int] = ..., bytes_per_s: _Optional[float] = ..., gone: _Optional[str] = ..., wire_bytes: _Optional[int] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("version", "cid", "published_unix_s", "size_bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    version: int
    cid: bytes
    published_unix_s: int
    size_bytes: int
    def __init__(self, version: _Optional[int] = ..., cid: _Optional[bytes] = ..., published_unix_s: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class ModelVersions(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class KeptModel(_message.Message):
    __slots__ = ("name", "cid", "partial")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    cid: bytes
    partial: bool
    def __init__(self, name: _Optional[str] = ..., cid: _Optional[bytes] = ..., partial: bool = ...) -> None: ...

class KeptModels(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[KeptModel]
    def __init__(self, models: _Optional[_Iterable[_Union[KeptModel, _Mapping]]] = ...) -> None: ...

class RemoveModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemovedModels(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: int
    def __init__(self, versions: _Optional[int] = ...) -> None: ...

class FindTensorRequest(_message.Message):
    __slots__ = ("name", "tensor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    tensor: str
    def __init__(self, name: _Optional[str] = ..., tensor: _Optional[str] = ...) -> None: ...

class ModelTensor(_message.Message):
    __slots__ = ("file", "dtype", "shape", "start", "end")
    FILE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    start: int
    end: int
    def __init__(self, file: _Optional[bytes] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("alias", "owner")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    alias: str
    owner: bytes
    def __init__(self, alias: _Optional[str] = ..., owner: _Optional[bytes] = ...) -> None: ...

class RemoveAliasRequest(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: str
    def __init__(self, alias: _Optional[str] = ...) -> None: ...

class RemovedAlias(_message.Message):
    __slots__ = ("was_set",)
    WAS_SET_FIELD_NUMBER: _ClassVar[int]
    was_set: bool
    def __init__(self, was_set: bool = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Alias(_message.Message):
    __slots__ = ("alias", "owner")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    alias: str
    owner: bytes
    def __init__(self, alias: _Optional[str] = ..., owner: _Optional[bytes] = ...) -> None: ...

class Aliases(_message.Message):
    __slots__ = ("aliases",)
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class PublishCheckpointRequest(_message.Message):
    __slots__ = ("file", "run", "step", "shard", "shards", "keep", "pinned", "attempt", "metadata", "key")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FILE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    run: str
    step: int
    shard: int
    shards: int
    keep: int
    pinned: bool
    attempt: int
    metadata: _containers.ScalarMap[str, str]
    key: str
    def __init__(self, file: _Optional[bytes] = ..., run: _Optional[str] = ..., step: _Optional[int] = ..., shard: _Optional[int] = ..., shards: _Optional[int] = ..., keep: _Optional[int] = ..., pinned: bool = ..., attempt: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., key: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WaitCheckpointRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class DescribeCheckpointRequest(_message.Message):
    __slots__ = ("run", "step")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...

class FetchCheckpointRequest(_message.Message):
    __slots__ = ("run", "step", "shard")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    shard: int
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ..., shard: _Optional[int] = ...) -> None: ...

class PullCheckpointRequest(_message.Message):
    __slots__ = ("run", "step", "target", "parent_device", "parent_inode")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PARENT_DEVICE_FIELD_NUMBER: _ClassVar[int]
    PARENT_INODE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    target: bytes
    parent_device: int
    parent_inode: int
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ..., target: _Optional[bytes] = ..., parent_device: _Optional[int] = ..., parent_inode: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("run", "step", "cid", "manifest", "pinned", "put", "kept")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    cid: bytes
    manifest: bytes
    pinned: bool
    put: PutResult
    kept: KeptBlocks
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ..., cid: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., pinned: bool = ..., put: _Optional[_Union[PutResult, _Mapping]] = ..., kept: _Optional[_Union[KeptBlocks, _Mapping]] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: str
    def __init__(self, run: _Optional[str] = ...) -> None: ...

class CheckpointStep(_message.Message):
    __slots__ = ("step", "cid", "published_unix_s", "size_bytes", "pinned")
    STEP_FIELD_NUMBER: _ClassVar[int]
    CID_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    step: int
    cid: bytes
    published_unix_s: int
    size_bytes: int
    pinned: bool
    def __init__(self, step: _Optional[int] = ..., cid: _Optional[bytes] = ..., published_unix_s: _Optional[int] = ..., size_bytes: _Optional[int] = ..., pinned: bool = ...) -> None: ...

class CheckpointSteps(_message.Message):
    __slots__ = ("steps",)
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[CheckpointStep]
    def __init__(self, steps: _Optional[_Iterable[_Union[CheckpointStep, _Mapping]]] = ...) -> None: ...

class PinCheckpointRequest(_message.Message):
    __slots__ = ("run", "step", "pinned")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    pinned: bool
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ..., pinned: bool = ...) -> None: ...

class RemoveCheckpointRequest(_message.Message):
    __slots__ = ("run", "step")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: int
    def __init__(self, run: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...

class RemovedCheckpoints(_message.Message):
    __slots__ = ("pins",)
    PINS_FIELD_NUMBER: _ClassVar[int]
    pins: int
    def __init__(self, pins: _Optional[int] = ...) -> None: ...

class WaitKeptRequest(_message.Message):
    __slots__ = ("root",)
    ROOT_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    def __init__(self, root: _Optional[bytes] = ...) -> None: ...

class KeptBlocks(_message.Message):
    __slots__ = ("root", "wanted", "receipts", "refused", "done", "size_bytes", "expires_unix_s")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    wanted: int
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    done: bool
    size_bytes: int
    expires_unix_s: float
    def __init__(self, root: _Optional[bytes] = ..., wanted: _Optional[int] = ..., receipts: _Optional[_Iterable[bytes]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., done: bool = ..., size_bytes: _Optional[int] = ..., expires_unix_s: _Optional[float] = ...) -> None: ...
