"""What LangChain says of a message and Turnkeep has no field for, kept in the message's metadata.

The format, which turnkeep.langchain reads and writes too: the values under `langchain.0`,
`langchain.1` and so on, put together, are one compact JSON object of LangChain's own fields.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from turnkeep_server.migration.sources import Unreadable
from turnkeep_server.request_limits import Limits

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def metadata_of(beyond: Mapping[str, Any], limits: Limits) -> dict[str, str]:
    """The metadata that hold these fields; none for none.

    Raises Unreadable where they are more than a message's metadata may hold: nothing is cut.
    """
    if not beyond:
        return {}
    text = json.dumps(beyond, ensure_ascii=False, separators=(",", ":"))
    # Half of a pair is no text, neither for BSON nor for protobuf. JSON has a way to write it.
    text = _LONE_SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    keys = [f"langchain.{n}" for n in range(limits.max_map_entries)]
    room = limits.max_map_entry_bytes - len(keys[-1])
    pieces = list(_pieces(text, room))
    if len(pieces) > len(keys):
        raise Unreadable(
            f"has {len(text.encode())} bytes of fields that only its metadata could keep "
            f"({', '.join(sorted(beyond))}), and these hold about {len(keys) * room}"
        )
    return dict(zip(keys, pieces, strict=False))


def _pieces(text: str, size_bytes: int) -> Iterator[str]:
    """The text in pieces of at most so many bytes of UTF-8, no character cut in two."""
    data = text.encode()
    while data:
        piece = data[:size_bytes].decode(errors="ignore")
        yield piece
        data = data[len(piece.encode()) :]
