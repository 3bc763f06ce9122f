"""Which unique index a document clashes with: what mongomock's error does not tell."""

from collections.abc import Callable, Sequence
from typing import Any

import mongomock.filtering
from pymongo.errors import DuplicateKeyError

from tests.kit.mongo_pipelines import Document

DUPLICATE_KEY = 11000


def explained(
    error: DuplicateKeyError, collection: Any, documents: Sequence[Document], *, inserted: bool
) -> DuplicateKeyError:
    """The error as a server words it: `documents` are what the write wanted to store."""
    indexes = collection.index_information()
    if not inserted:
        del indexes["_id_"]
    for document in documents:
        for name, index in indexes.items():
            if (key := _clash(collection, name, index, document)) is not None:
                return _duplicate_key(collection.full_name, name, index["key"], key)
    return error


def _clash(collection: Any, name: str, index: Document, document: Document) -> Document | None:
    """The key that both the document and another one have in this index, or None."""
    if not index.get("unique") and name != "_id_":
        return None
    key = {path: _value(document, path) for path, _ in index["key"]}
    if name == "_id_":
        return key if collection.count_documents({"_id": document["_id"]}) else None
    if index.get("sparse") and not any(value is not None for value in key.values()):
        return None
    partial = index.get("partialFilterExpression") or {}
    if not _applies(partial, document):
        return None
    same = [partial, {path: {"$eq": value} for path, value in key.items()}]
    others = {"$and": [part for part in same if part], "_id": {"$ne": document["_id"]}}
    return key if collection.count_documents(others) else None


def _duplicate_key(
    namespace: str, name: str, fields: list[tuple[str, int]], key: Document
) -> DuplicateKeyError:
    message = f"E11000 duplicate key error collection: {namespace} index: {name} dup key: {key}"
    details = {
        "index": 0,
        "code": DUPLICATE_KEY,
        "errmsg": message,
        "keyPattern": dict(fields),
        "keyValue": key,
    }
    return DuplicateKeyError(message, DUPLICATE_KEY, details)


def _applies(partial: Document, document: Document) -> bool:
    applies: Callable[[Document, Document], bool] = mongomock.filtering.filter_applies
    return applies(partial, document)


def _value(document: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none, as an index sees it."""
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document
