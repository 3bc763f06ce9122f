"""What the wire has no field for, as JSON in a message's metadata.

Under the keys langchain.0, langchain.1, … are the pieces of one compact JSON object: the message's
fields under LangChain's names, those that the wire's own fields do not give back.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

# turnkeep.v1.Message.metadata.
MAX_ENTRIES = 32
MAX_ENTRY_BYTES = 4_096
MOST_BYTES = sum(MAX_ENTRY_BYTES - len(f"langchain.{each}") for each in range(MAX_ENTRIES))
"""What there is room for, where no piece ends before a character that needs several bytes."""


def to_metadata(fields: Mapping[str, Any]) -> dict[str, str]:
    """The entries that hold `fields`; none for no fields.

    Raises ValueError for what JSON cannot say, or would not say the same, and for what is too
    large; it names the field or the size.
    """
    if not fields:
        return {}
    for name, value in fields.items():
        _check(name, value)
    data = _dumped(fields).encode()
    entries = {f"langchain.{i}": piece for i, piece in enumerate(_pieces(data))}
    if len(entries) > MAX_ENTRIES:
        raise ValueError(
            f"{', '.join(fields)} take {len(data):,} bytes as JSON; "
            f"there is room for about {MOST_BYTES:,} beside the text"
        )
    return entries


def from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields in a message's metadata; none where LangChain's adapter did not write it.

    Raises ValueError for pieces that are no JSON object.
    """
    if "langchain.0" not in metadata:
        return {}
    pieces: list[str] = []
    while (piece := metadata.get(f"langchain.{len(pieces)}")) is not None:
        pieces.append(piece)
    fields = json.loads("".join(pieces))
    if not isinstance(fields, dict):
        raise ValueError("metadata langchain.* hold no JSON object")  # noqa: TRY004 - it was read
    return cast(dict[str, Any], fields)


def _check(name: str, value: object) -> None:
    try:
        same = json.loads(_dumped(value)) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be kept as JSON: {error}") from error
    if not same:
        raise ValueError(
            f"{name} would not come back the same from JSON: it holds tuples, or keys that are no "
            "text"
        )


def _dumped(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which models emit: JSON can escape it, UTF-8 cannot hold it.
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def _pieces(data: bytes) -> Iterator[str]:
    """Texts as large as their entries allow, none ending within a character."""
    start, number = 0, 0
    while start < len(data):
        end = start + MAX_ENTRY_BYTES - len(f"langchain.{number}")
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end].decode()
        start, number = end, number + 1
