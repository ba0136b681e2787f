"""docs/control-protocol.md against the messages, the limits and the operations that it describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto

from primedht import limits
from primedht.control import blocks
from primedht.control.extensions import _OPERATIONS, _OPERATIONS_AT_LENGTH
from primedht.control.transfers import STEPS
from primedht.events import OPERATIONS
from primedht.pb import p2pd_pb2 as pb

PAGE = (Path(__file__).parents[2] / "docs" / "control-protocol.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) \|", PAGE, re.MULTILINE))
Field = FieldDescriptorProto


def messages() -> Iterator[DescriptorProto]:
    for descriptor in pb.DESCRIPTOR.message_types_by_name.values():
        message = DescriptorProto()
        descriptor.CopyToProto(message)
        yield message


def enums() -> Iterator[tuple[str, EnumDescriptorProto]]:
    for message in messages():
        for enum in message.enum_type:
            yield f"{message.name}.{enum.name}", enum


def field_text(field: FieldDescriptorProto) -> str:
    name = f"`{field.name}`"
    if field.label == Field.LABEL_REQUIRED:
        name = f"**{name}**"
    kind = field.type_name.rpartition(".")[2] or Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    repeated = ", repeated" if field.label == Field.LABEL_REPEATED else ""
    return f"{name} {field.number} {kind}{repeated}"


@pytest.mark.parametrize("message", list(messages()), ids=lambda message: message.name)
def test_every_field_of_every_message_is_named(message: DescriptorProto) -> None:
    assert ROWS.get(message.name) == ("; ".join(map(field_text, message.field)) or "none")


@pytest.mark.parametrize(
    ("name", "enum"), list(enums()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_value_of_every_enum_is_named(name: str, enum: EnumDescriptorProto) -> None:
    assert ROWS.get(name) == "; ".join(f"`{value.name}` {value.number}" for value in enum.value)


def test_nothing_else_is_named() -> None:
    assert set(ROWS) == {message.name for message in messages()} | {name for name, _ in enums()}


def test_every_operation_is_explained_and_served() -> None:
    names = {field.name for field in pb.PrimeRequest.DESCRIPTOR.oneofs_by_name["operation"].fields}
    assert names == {*_OPERATIONS, *_OPERATIONS_AT_LENGTH, *STEPS, *blocks.STEPS}
    for name in names:
        assert f"| `{name}`: " in PAGE, name


def test_the_limits_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([a-z][^|`]*?) \| ([^|]+?) \|$", PAGE, re.MULTILINE))
    assert rows["a request"].startswith(f"{limits.CONTROL_REQUEST_BYTES_MAX >> 20} MiB")
    assert f"within {limits.CONTROL_REQUEST_S:g} s" in rows["a request"]
    assert rows["an answer"].startswith(f"{limits.CONTROL_RESPONSE_BYTES_MAX >> 20} MiB")
    assert f"that takes no byte of an answer for {limits.CONTROL_SEND_STALL_S:g} s" in PAGE
    assert rows["connections"].startswith(str(limits.CONTROL_CONNECTIONS_MAX))
    assert rows["items of a batch"].startswith(
        f"{limits.CONTROL_BATCH_ITEMS_MAX}, of which {limits.CONTROL_BATCH_AT_ONCE}"
    )
    assert rows["a chunk of a value"].startswith(f"{limits.CONTROL_CHUNK_BYTES_MAX >> 20} MiB")
    assert f"{limits.CONTROL_CHUNK_BYTES >> 10} KiB is a good size" in rows["a chunk of a value"]
    assert rows["events that wait for a subscriber"] == str(limits.EVENTS_WAITING_MAX)
    assert rows["subscribers"] == str(limits.SUBSCRIBERS_MAX)
    assert limits.CONTROL_TIMEOUT_S_MAX == 24 * 3600
    assert f"{limits.CONTROL_TIMEOUT_S:g} s if it names none" in PAGE
    assert f"ours are at most {limits.CONTROL_CHUNKS_UNANSWERED} ahead" in PAGE


def test_the_events_are_those_of_the_engine() -> None:
    listed = re.search(r"limits it to some of: ([\w, \n]+)\.", PAGE)
    assert listed is not None
    assert tuple(re.split(r",\s+", listed[1])) == OPERATIONS


def test_the_example_is_what_goes_over_the_socket() -> None:
    shown = re.search(r"^> ([0-9a-f ]+)$", PAGE, re.MULTILINE)
    assert shown is not None
    request = pb.Request(
        type=pb.Request.PRIME, prime=pb.PrimeRequest(put=pb.PutRequest(key=b"k", value=b"v"))
    )
    raw = request.SerializeToString()
    assert bytes.fromhex(shown[1]) == bytes([len(raw)]) + raw
