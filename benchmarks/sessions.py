"""Long sessions, made by multiplying one turn that the server itself has written.

So each server finds what it would have stored, byte for byte, whatever its form is.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from pymongo import MongoClient

Document = dict[str, Any]

TEMPLATE = "template"
"""The session whose one turn is multiplied."""
_DOCUMENTS_A_WRITE = 5_000


def multiply(url: str, family: str, session_ids: Iterable[str], turns: int) -> None:
    """Fills each session with `turns` turns, straight into the family's database."""
    name, copies = _COLLECTIONS[family]
    with MongoClient[Document](url) as client:
        collection = client.get_default_database()[name]
        template = [
            {key: value for key, value in document.items() if key != "_id"}
            for document in collection.find(_TEMPLATES[family])
        ]
        documents = (
            copy
            for session_id in session_ids
            for n in range(1, turns + 1)
            for copy in copies(template, session_id, n)
        )
        while batch := list(islice(documents, _DOCUMENTS_A_WRITE)):
            # In order: stock reads its messages in the order in which they came.
            collection.insert_many(batch)
        # Or the database would be busy with it while something else is measured.
        client.admin.command("fsync")


def _numbered(template: list[Document], session_id: str, n: int) -> Iterator[Document]:
    yield {**template[0], "session_id": session_id, "sequence": n}


def _counted(template: list[Document], session_id: str, n: int) -> Iterator[Document]:
    for each in _numbered(template, session_id, n):
        yield {**each, "messages_before": 2 * (n - 1)}


def _stock(template: list[Document], session_id: str, n: int) -> Iterator[Document]:
    for each in template:
        yield {**each, "SessionId": f"/{session_id}"}


_COLLECTIONS: dict[str, tuple[str, Callable[[list[Document], str, int], Iterator[Document]]]] = {
    "turnkeep": ("turns", _counted),
    "stock": ("message_store", _stock),
    "floor": ("turns", _numbered),
}
_TEMPLATES = {
    "turnkeep": {"session_id": TEMPLATE},
    "stock": {"SessionId": f"/{TEMPLATE}"},
    "floor": {"session_id": TEMPLATE},
}
