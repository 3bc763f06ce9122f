"""Requests that nobody would send, made from the descriptor: the same ones for the same seed."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz import values
from tests.kit.canary import MARK
from turnkeep.v1 import conversation_pb2 as pb

SANE_SHARES = (1.0, 0.95, 0.9, 0.6)
"""How likely a field's value is one that could be meant; drawn once a message."""

_SET_SHARE = 0.3
_NEEDED = {"session_id", "text", "messages", "user_id"}
_NEEDED_SHARE = 0.95
_MANY_SHARE = 0.03
_DEEPEST = 5
_CUT_SHARE, _NOISE_SHARE, _MUTATED_SHARE = 0.1, 0.1, 0.3


class Wild:
    """Makes messages and bytes; `source` says which."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._sane = source.choice(SANE_SHARES)

    def body(self, kind: type[Message]) -> bytes:
        """A request's bytes: a valid message, a changed one, a cut one, or pure noise."""
        share = self._source.random()
        if share < _NOISE_SHARE:
            return self._source.randbytes(self._source.randrange(200))
        data = self.message(kind).SerializeToString()
        if share < _NOISE_SHARE + _CUT_SHARE:
            return data[: self._source.randrange(len(data) + 1)]
        if share < _NOISE_SHARE + _CUT_SHARE + _MUTATED_SHARE:
            return self.mutated(data)
        return data

    def message(self, kind: type[Message]) -> Message:
        """A message whose fields hold what fits, what might, and what cannot be."""
        made = kind()
        self._fill(made, depth=0)
        return made

    def mutated(self, data: bytes, *others: bytes) -> bytes:
        """The bytes with a few changes; `others`: what may be put into them."""
        changed = bytearray(data)
        for _ in range(self._source.choice((1, 1, 2, 5))):
            self._source.choice(_CHANGES)(changed, self._source, others)
        return bytes(changed[: values.LONGEST_BYTES])

    def _fill(self, made: Message, depth: int) -> None:
        chosen = {each.name: self._source.choice(each.fields) for each in made.DESCRIPTOR.oneofs}
        for field in made.DESCRIPTOR.fields:
            oneof = field.containing_oneof
            one_of_several = oneof is not None and len(oneof.fields) > 1
            if one_of_several and field is not chosen[oneof.name]:
                continue
            likely = one_of_several or field.name in _NEEDED
            if self._source.random() < (_NEEDED_SHARE if likely else _SET_SHARE):
                self._set(made, field, depth)
        if isinstance(made, pb.Message) and self._source.random() < self._sane:
            _reconcile(made)

    def _set(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type and field.message_type.GetOptions().map_entry:
            entries = getattr(made, field.name)
            for _ in range(self._count()):
                entries[self._text("name")] = self._text(field.name)
        elif field.is_repeated:
            for _ in range(self._count()):
                self._add(getattr(made, field.name), field, depth)
        elif field.message_type:
            if depth < _DEEPEST:
                part = getattr(made, field.name)
                part.SetInParent()
                self._fill(part, depth + 1)
        else:
            setattr(made, field.name, self._value(field))

    def _add(self, to: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type:
            self._fill(to.add(), depth + 1)
        else:
            to.append(self._value(field))

    def _count(self) -> int:
        many = self._sane < 1.0 and self._source.random() < _MANY_SHARE
        return self._source.choice((33, 65, 130) if many else (1, 1, 1, 2, 3))

    def _value(self, field: FieldDescriptor) -> Any:
        sane = self._source.random() < self._sane
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return self._source.choice(values.DATA) if sane else self._source.randbytes(99)
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(field.name)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._source.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                known = list(field.enum_type.values_by_number)
                return self._source.choice(known if sane else values.INT32)
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return self._source.choice(values.SANE_DOUBLES if sane else values.DOUBLES)
            case FieldDescriptor.CPPTYPE_INT32:
                return self._source.choice(values.SANE_COUNTS if sane else values.INT32)
        return self._source.choice(values.SANE_COUNTS if sane else values.INT64)

    def _text(self, name: str) -> str:
        if self._source.random() < self._sane:
            return self._source.choice(values.SANE.get(name, values.SAYINGS))
        if self._source.random() < 0.01:
            return self._source.choice(values.LONG)()
        fitting = values.WILD.get(name, values.TEXTS)
        text = self._source.choice(fitting if self._source.random() < 0.5 else values.TEXTS)
        if name == "request_id":  # which may be logged
            return text.replace(MARK, "x")
        return text + self._source.choice(values.TEXTS) if self._source.random() < 0.3 else text


def _reconcile(message: pb.Message) -> None:
    """Leaves out what does not go with the rest."""
    if message.role != pb.ROLE_ASSISTANT:
        message.ClearField("tool_calls")
    message.tool_call_id = "call-1" if message.role == pb.ROLE_TOOL else ""
    if message.parts:
        message.text = ""


Change = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def _flip(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def _overwrite(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at, piece = source.randrange(len(data) + 1), source.choice(values.PIECES)
    data[at : at + len(piece)] = piece


def _insert(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randrange(len(data) + 1)
    data[at:at] = source.choice(values.PIECES)


def _remove(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randrange(len(data) + 1)
    del data[at : at + source.choice((1, 2, 4, 16))]


def _repeat(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    start = source.randrange(len(data) + 1)
    data[start:start] = data[start : start + 32] * source.choice((1, 2, 20))


def _splice(data: bytearray, source: random.Random, others: Sequence[bytes]) -> None:
    if others:
        other = source.choice(others)
        data[source.randrange(len(data) + 1) :] = other[source.randrange(len(other) + 1) :]


_CHANGES: tuple[Change, ...] = (_flip, _flip, _overwrite, _insert, _remove, _repeat, _splice)
