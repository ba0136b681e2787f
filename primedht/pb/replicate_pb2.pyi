from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("offer", "challenge", "release")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    offer: Offer
    challenge: Challenge
    release: Release
    def __init__(self, offer: _Optional[_Union[Offer, _Mapping]] = ..., challenge: _Optional[_Union[Challenge, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("key", "record", "expires_unix_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    record: bytes
    expires_unix_ms: int
    def __init__(self, key: _Optional[bytes] = ..., record: _Optional[bytes] = ..., expires_unix_ms: _Optional[int] = ...) -> None: ...

class Challenge(_message.Message):
    __slots__ = ("root", "block", "nonce")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    block: bytes
    nonce: bytes
    def __init__(self, root: _Optional[bytes] = ..., block: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("root",)
    ROOT_FIELD_NUMBER: _ClassVar[int]
    root: bytes
    def __init__(self, root: _Optional[bytes] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("working", "receipt", "refused", "proof", "released")
    WORKING_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    working: Working
    receipt: Receipt
    refused: Refused
    proof: bytes
    released: Released
    def __init__(self, working: _Optional[_Union[Working, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., proof: _Optional[bytes] = ..., released: _Optional[_Union[Released, _Mapping]] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Working(_message.Message):
    __slots__ = ("done_bytes",)
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    def __init__(self, done_bytes: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("network_id", "root", "size_bytes", "record_digest", "holder", "requester", "expires_unix_ms", "public_key", "signature")
    NETWORK_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECORD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    network_id: str
    root: bytes
    size_bytes: int
    record_digest: bytes
    holder: bytes
    requester: bytes
    expires_unix_ms: int
    public_key: bytes
    signature: bytes
    def __init__(self, network_id: _Optional[str] = ..., root: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., record_digest: _Optional[bytes] = ..., holder: _Optional[bytes] = ..., requester: _Optional[bytes] = ..., expires_unix_ms: _Optional[int] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
