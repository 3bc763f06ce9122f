"""What langchain-community's FileChatMessageHistory wrote: a JSON array of messages, one file each.

langchain_community/chat_message_histories/file.py, 0.4. It names no session: the file's stem does.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from turnkeep_server.errors import SettingsError
from turnkeep_server.migration.sources import SourceOptions, SourceSession, Unreadable

_MESSAGES_A_READ = 500
_SPACE = " \t\r\n"


@asynccontextmanager
async def opened(options: SourceOptions) -> AsyncIterator["FilesSource"]:
    """The file, or all files of the folder. Raises SettingsError."""
    url = options.url
    path = Path(unquote(urlsplit(url).path) if url.startswith("file:") else url)
    if not path.exists():
        raise SettingsError(f"--from: there is no file or folder {path}")
    if path.is_file() and len(options.sessions) > 1:
        raise SettingsError("--from names one file, which is one session: give one --session")
    try:
        "".encode(options.encoding)
    except LookupError:
        raise SettingsError(f"--encoding: Python knows no {options.encoding!r}") from None
    yield FilesSource(path, options)


class FilesSource:
    """A file or a folder of files; what is below its folders, or hidden, is left alone."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.name = f"files {(path if path.is_dir() else path.parent).resolve()}"
        self._path = path
        self._encoding = options.encoding
        self._sessions = options.sessions

    async def count(self) -> int:
        found = 0
        async for session in self.sessions():
            found += await asyncio.to_thread(_length, self._stored(session))
        return found

    async def sessions(self) -> AsyncGenerator[SourceSession]:
        if self._path.is_file():
            (called,) = self._sessions or (self._path.stem,)
            yield SourceSession(called, str(self._path.resolve()))
            return
        for each in await asyncio.to_thread(lambda: sorted(self._path.iterdir())):
            wanted = not self._sessions or each.stem in self._sessions
            if wanted and each.is_file() and not each.name.startswith("."):
                yield SourceSession(each.stem, str(each.resolve()))

    async def messages(self, session: SourceSession) -> AsyncGenerator[object]:
        stored = self._stored(session)
        while some := await asyncio.to_thread(lambda: list(islice(stored, _MESSAGES_A_READ))):
            for each in some:
                yield each

    def _stored(self, session: SourceSession) -> Iterator[object]:
        """The array's items, one at a time, as far as it is one."""
        try:
            text = Path(str(session.key)).read_text(encoding=self._encoding)
        except (OSError, ValueError) as error:
            yield Unreadable(f"is in a file that cannot be read: {type(error).__name__}")
            return
        yield from _items(text.strip(_SPACE + "\ufeff"))


def _items(text: str) -> Iterator[object]:
    decoder, at = json.JSONDecoder(), 1
    if not text.startswith("["):
        yield Unreadable("is in a file that holds no JSON array")
        return
    while (at := _next(text, at)) < len(text) and text[at] != "]":
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Unreadable("is no valid JSON, nor is the file from there on")
            return
        yield item
        at = _next(text, at)
        if text[at : at + 1] == ",":
            at += 1
    if at != len(text) - 1:
        yield Unreadable("is missing: the file's JSON array does not end there, or goes on after")


def _length(items: Iterator[object]) -> int:
    return sum(1 for _ in items)


def _next(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at
