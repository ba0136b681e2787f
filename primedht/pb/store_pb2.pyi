from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordMeta(_message.Message):
    __slots__ = ("key", "received_unix_s", "expires_unix_s", "writer_unix_ms", "sequence", "publisher", "tombstone", "source", "ip_block", "own", "pinned", "republish_unix_s", "ttl_s", "value_bytes", "value_crc32")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    WRITER_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    IP_BLOCK_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    REPUBLISH_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALUE_CRC32_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    received_unix_s: float
    expires_unix_s: float
    writer_unix_ms: int
    sequence: int
    publisher: bytes
    tombstone: bool
    source: bytes
    ip_block: str
    own: bool
    pinned: bool
    republish_unix_s: float
    ttl_s: float
    value_bytes: int
    value_crc32: int
    def __init__(self, key: _Optional[bytes] = ..., received_unix_s: _Optional[float] = ..., expires_unix_s: _Optional[float] = ..., writer_unix_ms: _Optional[int] = ..., sequence: _Optional[int] = ..., publisher: _Optional[bytes] = ..., tombstone: bool = ..., source: _Optional[bytes] = ..., ip_block: _Optional[str] = ..., own: bool = ..., pinned: bool = ..., republish_unix_s: _Optional[float] = ..., ttl_s: _Optional[float] = ..., value_bytes: _Optional[int] = ..., value_crc32: _Optional[int] = ...) -> None: ...

class VersionFloor(_message.Message):
    __slots__ = ("version", "until_unix_s")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNTIL_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    version: int
    until_unix_s: float
    def __init__(self, version: _Optional[int] = ..., until_unix_s: _Optional[float] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("received_unix_s", "addrs_unix_s", "addrs", "ip_block")
    RECEIVED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    ADDRS_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    IP_BLOCK_FIELD_NUMBER: _ClassVar[int]
    received_unix_s: float
    addrs_unix_s: float
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    ip_block: str
    def __init__(self, received_unix_s: _Optional[float] = ..., addrs_unix_s: _Optional[float] = ..., addrs: _Optional[_Iterable[bytes]] = ..., ip_block: _Optional[str] = ...) -> None: ...

class OwnProvide(_message.Message):
    __slots__ = ("provided_unix_s", "local_only")
    PROVIDED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    provided_unix_s: float
    local_only: bool
    def __init__(self, provided_unix_s: _Optional[float] = ..., local_only: bool = ...) -> None: ...

class StoredBlock(_message.Message):
    __slots__ = ("place", "size_bytes", "leaf", "references")
    class Place(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        INLINE: _ClassVar[StoredBlock.Place]
        FILE: _ClassVar[StoredBlock.Place]
        REFERENCE: _ClassVar[StoredBlock.Place]
    INLINE: StoredBlock.Place
    FILE: StoredBlock.Place
    REFERENCE: StoredBlock.Place
    PLACE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    place: StoredBlock.Place
    size_bytes: int
    leaf: bool
    references: _containers.RepeatedCompositeFieldContainer[BlockReference]
    def __init__(self, place: _Optional[_Union[StoredBlock.Place, str]] = ..., size_bytes: _Optional[int] = ..., leaf: bool = ..., references: _Optional[_Iterable[_Union[BlockReference, _Mapping]]] = ...) -> None: ...

class BlockReference(_message.Message):
    __slots__ = ("file_id", "offset")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    file_id: bytes
    offset: int
    def __init__(self, file_id: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class ReferencedFile(_message.Message):
    __slots__ = ("path", "size_bytes", "mtime_ns", "root_cid", "interim_path", "partial")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    ROOT_CID_FIELD_NUMBER: _ClassVar[int]
    INTERIM_PATH_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    size_bytes: int
    mtime_ns: int
    root_cid: bytes
    interim_path: bytes
    partial: bool
    def __init__(self, path: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., root_cid: _Optional[bytes] = ..., interim_path: _Optional[bytes] = ..., partial: bool = ...) -> None: ...

class BlockCounts(_message.Message):
    __slots__ = ("blocks", "bytes", "referenced_bytes")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_BYTES_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    bytes: int
    referenced_bytes: int
    def __init__(self, blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., referenced_bytes: _Optional[int] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("key", "record", "requester", "ip", "dag_bytes", "expires_unix_s", "root", "writer")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    DAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    record: bytes
    requester: bytes
    ip: str
    dag_bytes: int
    expires_unix_s: float
    root: bytes
    writer: bytes
    def __init__(self, key: _Optional[bytes] = ..., record: _Optional[bytes] = ..., requester: _Optional[bytes] = ..., ip: _Optional[str] = ..., dag_bytes: _Optional[int] = ..., expires_unix_s: _Optional[float] = ..., root: _Optional[bytes] = ..., writer: _Optional[bytes] = ...) -> None: ...

class OwnRoot(_message.Message):
    __slots__ = ("root", "owner", "kept")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    owner: bytes
    kept: bool
    def __init__(self, root: _Optional[bytes] = ..., owner: _Optional[bytes] = ..., kept: bool = ...) -> None: ...

class UnfinishedCheckpoint(_message.Message):
    __slots__ = ("owner", "run", "step", "shard", "shards", "attempt", "keep", "pinned", "part", "timeout_s")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    owner: bytes
    run: str
    step: int
    shard: int
    shards: int
    attempt: int
    keep: int
    pinned: bool
    part: bytes
    timeout_s: float
    def __init__(self, owner: _Optional[bytes] = ..., run: _Optional[str] = ..., step: _Optional[int] = ..., shard: _Optional[int] = ..., shards: _Optional[int] = ..., attempt: _Optional[int] = ..., keep: _Optional[int] = ..., pinned: bool = ..., part: _Optional[bytes] = ..., timeout_s: _Optional[float] = ...) -> None: ...

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
