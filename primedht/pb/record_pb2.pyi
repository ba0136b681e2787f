from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("version", "kind", "network_id", "sequence", "issued_unix_ms", "expires_unix_ms", "value", "public_key", "signature")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Envelope.Kind]
        VALUE: _ClassVar[Envelope.Kind]
        POINTER: _ClassVar[Envelope.Kind]
        TOMBSTONE: _ClassVar[Envelope.Kind]
    UNKNOWN: Envelope.Kind
    VALUE: Envelope.Kind
    POINTER: Envelope.Kind
    TOMBSTONE: Envelope.Kind
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ISSUED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: Envelope.Kind
    network_id: bytes
    sequence: int
    issued_unix_ms: int
    expires_unix_ms: int
    value: bytes
    public_key: bytes
    signature: bytes
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[Envelope.Kind, str]] = ..., network_id: _Optional[bytes] = ..., sequence: _Optional[int] = ..., issued_unix_ms: _Optional[int] = ..., expires_unix_ms: _Optional[int] = ..., value: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Pointer(_message.Message):
    __slots__ = ("root", "size_bytes", "dag_bytes", "blocks", "codec", "content_bytes")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    size_bytes: int
    dag_bytes: int
    blocks: int
    codec: str
    content_bytes: int
    def __init__(self, root: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., dag_bytes: _Optional[int] = ..., blocks: _Optional[int] = ..., codec: _Optional[str] = ..., content_bytes: _Optional[int] = ...) -> None: ...

class SignedPointer(_message.Message):
    __slots__ = ("pointer", "public_key", "signature")
    POINTER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    pointer: bytes
    public_key: bytes
    signature: bytes
    def __init__(self, pointer: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("root", "size_bytes", "blocks", "expires_unix_ms")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    size_bytes: int
    blocks: int
    expires_unix_ms: int
    def __init__(self, root: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., blocks: _Optional[int] = ..., expires_unix_ms: _Optional[int] = ...) -> None: ...

class SignedStatement(_message.Message):
    __slots__ = ("statement", "public_key", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    public_key: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class IpnsRecord(_message.Message):
    __slots__ = ("value", "signature_v1", "validity_type", "validity", "sequence", "ttl", "public_key", "signature_v2", "data")
    class ValidityType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EOL: _ClassVar[IpnsRecord.ValidityType]
    EOL: IpnsRecord.ValidityType
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_V1_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_V2_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    signature_v1: bytes
    validity_type: IpnsRecord.ValidityType
    validity: bytes
    sequence: int
    ttl: int
    public_key: bytes
    signature_v2: bytes
    data: bytes
    def __init__(self, value: _Optional[bytes] = ..., signature_v1: _Optional[bytes] = ..., validity_type: _Optional[_Union[IpnsRecord.ValidityType, str]] = ..., validity: _Optional[bytes] = ..., sequence: _Optional[int] = ..., ttl: _Optional[int] = ..., public_key: _Optional[bytes] = ..., signature_v2: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...
