"""Cursors with the face of pymongo's asynchronous ones over what mongomock has read."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from tests.kit.mongo_pipelines import Document


def key_list(keys: str | Sequence[tuple[str, int]], direction: int = 1) -> list[tuple[str, int]]:
    """Sort keys as a list of (field, direction)."""
    return [(keys, direction)] if isinstance(keys, str) else list(keys)


class AsyncCommandCursor:
    """The documents of a result, one after the other."""

    def __init__(self, documents: list[Document]) -> None:
        self._left = documents

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Document:
        await self._fetch()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)

    async def to_list(self, length: int | None = None) -> list[Document]:
        """The next `length` documents, or all that are left."""
        await self._fetch()
        taken, self._left = self._left[:length], [] if length is None else self._left[length:]
        return taken

    async def close(self) -> None:
        """Forget what is left."""
        self._left = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _fetch(self) -> None:
        await asyncio.sleep(0)


class AsyncCursor(AsyncCommandCursor):
    """The documents of a find(). It reads them all at once, when the first one is asked for."""

    def __init__(
        self,
        read: Callable[[], Any],
        sort: str | Sequence[tuple[str, int]] | None,
        skip: int,
        limit: int,
    ) -> None:
        super().__init__([])
        self._read: Callable[[], Any] | None = read
        self._sort = key_list(sort) if sort else []
        self._skip = skip
        self._limit = limit

    def sort(self, keys: str | Sequence[tuple[str, int]], direction: int = 1) -> Self:
        """Order by these keys."""
        self._sort = key_list(keys, direction)
        return self

    def skip(self, skip: int) -> Self:
        """Leave out the first ones."""
        self._skip = skip
        return self

    def limit(self, limit: int) -> Self:
        """At most so many; 0 is all."""
        self._limit = limit
        return self

    async def close(self) -> None:
        """Forget what is left."""
        self._read = None
        await super().close()

    async def _fetch(self) -> None:
        await super()._fetch()
        read, self._read = self._read, None
        if read is not None:
            found = read()
            if self._sort:
                found = found.sort(self._sort)
            # A negative limit is a positive one in a single batch.
            self._left = list(found.skip(self._skip).limit(abs(self._limit)))
