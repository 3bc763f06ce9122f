"""Makes docs/api.md out of the proto's comments.

    buf build --output - | scripts/api_docs.py > docs/api.md

RPCs come first, each with the messages that only it has; what several use follows, then the enums.
Everything in the page is in the proto: nothing is written here.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

PACKAGE = "turnkeep.v1"
ELSEWHERE = {
    "google.protobuf.Timestamp": "https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp"
}
Path = tuple[int, ...]
# Where the elements are in a file's source info: their field numbers in descriptor.proto.
SYNTAX, MESSAGES, ENUMS, SERVICES = 12, 4, 5, 6
FIELDS, ONEOFS, VALUES, METHODS = 2, 8, 2, 2


class Page:
    """The page of one proto file."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(each.path): each.leading_comments for each in file.source_code_info.location
        }
        self._messages = {each.name: number for number, each in enumerate(file.message_type)}
        self._shown: set[str] = set()

    def lines(self) -> Iterator[str]:
        """The page, in Markdown."""
        yield "<!-- Made from the proto's comments by `make docs`. -->"
        yield f"# API reference: {PACKAGE}\n"
        yield from self._paragraphs((SYNTAX,))
        yield "\nThe reasons of errors, and what to do about each, are in [errors.md](errors.md).\n"
        for number, service in enumerate(self._file.service):
            yield from self._service(service, (SERVICES, number))
        yield "## Messages\n"
        for name in self._messages:
            yield from self._message(name)
        yield "## Enums\n"
        for number, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (ENUMS, number))

    def _service(self, service: ServiceDescriptorProto, path: Path) -> Iterator[str]:
        yield f"`{PACKAGE}.{service.name}`: {self._text(path)}\n"
        rows = [
            (f"[{each.name}](#{each.name.lower()})", self._signature(each))
            for each in service.method
        ]
        yield from _table(("RPC", "request → response"), rows)
        for number, method in enumerate(service.method):
            yield f"## {method.name}\n"
            yield f"{self._signature(method)}\n"
            yield from self._paragraphs((*path, METHODS, number))
            yield ""
            for kind in (method.input_type, method.output_type):
                yield from self._message(_short(kind))

    def _message(self, name: str) -> Iterator[str]:
        """A message's section, where it is met first."""
        if name in self._shown:
            return
        self._shown.add(name)
        path = (MESSAGES, self._messages[name])
        message = self._file.message_type[path[1]]
        yield f"### {name}\n"
        yield f"{self._text(path)}\n"
        yield from _table(("field", "type", "meaning"), self._fields(message, path))

    def _fields(self, message: DescriptorProto, path: Path) -> Iterator[Sequence[str]]:
        maps = {each.name: each for each in message.nested_type if each.options.map_entry}
        met: set[int] = set()
        for number, field in enumerate(message.field):
            name = f"`{field.name}`"
            if field.HasField("oneof_index") and not field.proto3_optional:
                which = field.oneof_index
                if which not in met:
                    met.add(which)
                    one = message.oneof_decl[which].name
                    yield f"`{one}`", "one of", self._text((*path, ONEOFS, which))
                name = f"– {name}"
            entry = maps.get(_short(field.type_name))
            yield name, _type(field, entry), self._text((*path, FIELDS, number))

    def _enum(self, enum: EnumDescriptorProto, path: Path) -> Iterator[str]:
        yield f"### {enum.name}\n"
        yield f"{self._text(path)}\n"
        rows = [
            (f"`{each.name}`", str(each.number), self._text((*path, VALUES, number)))
            for number, each in enumerate(enum.value)
        ]
        yield from _table(("value", "number", "meaning"), rows)

    def _signature(self, method: MethodDescriptorProto) -> str:
        stream = "stream of " if method.server_streaming else ""
        return f"{_link(method.input_type)} → {stream}{_link(method.output_type)}"

    def _text(self, path: Path) -> str:
        """An element's comment as one line, its errors linked to their table."""
        text = " ".join(self._comments[path].split())
        return re.sub(r"\b[A-Z_]{5,} / [A-Z_]{5,}\b", r"[\g<0>](errors.md)", text)

    def _paragraphs(self, path: Path) -> Iterator[str]:
        for paragraph in self._comments[path].split("\n\n"):
            yield " ".join(paragraph.split())
            yield ""


def _type(field: FieldDescriptorProto, entry: DescriptorProto | None) -> str:
    if entry is not None:
        key, value = (_scalar(each) for each in entry.field)
        return f"map of {key} to {value}"
    scalar = _scalar(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {scalar}"
    return f"optional {scalar}" if field.proto3_optional else scalar


def _scalar(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(full_name: str) -> str:
    name = full_name.removeprefix(".")
    if name in ELSEWHERE:
        return f"[{_short(name)}]({ELSEWHERE[name]})"
    return f"[{_short(name)}](#{_short(name).lower()})"


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(each.replace("|", r"\|") for each in row) + " |"
    yield ""


def main() -> None:
    files = FileDescriptorSet.FromString(sys.stdin.buffer.read()).file
    (ours,) = [each for each in files if each.package == PACKAGE]
    text = "\n".join(Page(ours).lines())
    sys.stdout.write(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


if __name__ == "__main__":
    main()
