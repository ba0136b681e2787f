from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

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
