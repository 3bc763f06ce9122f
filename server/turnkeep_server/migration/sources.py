"""What a source of histories is, and which one a URL means: one visible table."""

import importlib
from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from turnkeep_server.errors import SettingsError

SOURCES = {
    "mongodb": "turnkeep_server.migration.mongodb:opened",
    "mongodb+srv": "turnkeep_server.migration.mongodb:opened",
    "sqlite": "turnkeep_server.migration.sqlite:opened",
    "file": "turnkeep_server.migration.files:opened",
}
"""URL scheme → what opens it, imported when used. A path without a scheme is a file or a folder."""


class Unreadable(Exception):
    """A stored message that cannot be taken over whole; why, without quoting it.

    Expected now and then. The operator mends it in the source, or has it passed over.
    """


class SourceLost(Exception):
    """The source stopped answering; in words. The operator looks why, and imports again."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where to read; `url` may hold a password. Empty takes LangChain's own name, or the URL's.

    `sessions`: only these, all if it is empty; of a single file, what its session is called.
    """

    url: str = field(repr=False)
    database: str = ""
    collection: str = ""
    table: str = ""
    session_id_key: str = ""
    history_key: str = ""
    encoding: str = "utf-8"
    sessions: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session of a source: its id as text, None if it has none, and the source's own key."""

    session_id: str | None
    key: object


class Source(Protocol):
    """Histories to read; nothing here ever writes. Every method may raise SourceLost.

    `name` is the same for the same histories at every run, and different for others.
    """

    name: str

    async def count(self) -> int:
        """About how many messages there are to read."""

    def sessions(self) -> AsyncGenerator[SourceSession]:
        """The sessions to read, a few at a time."""

    def messages(self, session: SourceSession) -> AsyncGenerator[object]:
        """A session's messages from the first on, a few at a time, as they are stored.

        Each is a JSON text or what it says; or an Unreadable, for one that is not even that.
        """


class _Opener(Protocol):
    def __call__(self, options: SourceOptions) -> AbstractAsyncContextManager[Source]: ...


def opened_source(options: SourceOptions) -> AbstractAsyncContextManager[Source]:
    """The source that the options name, closed on leaving.

    Raises SettingsError for options that name nothing, in words that say what there is;
    StartupError if it cannot be reached.
    """
    if not options.url:
        # Not the folder in which the command happens to run: --from "$NOT_SET" means no such thing.
        raise SettingsError("--from is empty: it takes a URL, or the path of a file or a folder")
    scheme, colon, _ = options.url.partition(":")
    # SQLAlchemy's URLs may name a driver too: sqlite+aiosqlite.
    scheme = "sqlite" if scheme.startswith("sqlite+") else scheme
    if not colon or (scheme not in SOURCES and Path(options.url).exists()):
        scheme = "file"
    if scheme not in SOURCES:
        known = ", ".join(f"{each}:" for each in SOURCES)
        raise SettingsError(
            f"--from has no scheme that can be read; use one of {known} or a file's path"
        )
    module, _, name = SOURCES[scheme].partition(":")
    return cast(_Opener, getattr(importlib.import_module(module), name))(options)
