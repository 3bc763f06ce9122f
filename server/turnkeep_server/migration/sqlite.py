"""What langchain-community's SQLChatMessageHistory wrote to SQLite: one row a message.

langchain_community/chat_message_histories/sql.py, 0.4: a table of id, session_id and message, which
is a JSON text; in the order of its id.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.migration.sources import SourceLost, SourceOptions, SourceSession, Unreadable

T = TypeVar("T")

_TABLE = "message_store"  # LangChain's own
_SESSION_ID_KEY, _HISTORY_KEY = "session_id", "message"
_ROWS_A_READ = 500
_BUSY_SECONDS = 20.0


@asynccontextmanager
async def opened(options: SourceOptions) -> AsyncIterator["SQLiteSource"]:
    """The table that the options name. Raises SettingsError or StartupError."""
    path = _path(options.url)
    if not path.is_file():
        raise SettingsError(f"--from: there is no file {path}; an absolute path takes four slashes")
    try:
        source = await asyncio.to_thread(SQLiteSource, path, options)
    except sqlite3.Error as error:
        raise StartupError(f"--from: {path} cannot be read as SQLite: {error}") from error
    with closing(source):
        yield source


def _path(url: str) -> Path:
    """The path in one of SQLAlchemy's URLs: three slashes and a path, four if it is absolute."""
    path = url.partition("://")[2].partition("?")[0]
    if not path.startswith("/") or path in {"/", "/:memory:"}:
        raise SettingsError("--from: write sqlite:///PATH, or sqlite:////PATH for an absolute one")
    return Path(path[1:])


class SQLiteSource:
    """One table, opened read-only.

    Which message is whose is looked up once, into a temporary table (SQLite puts it into a file of
    its own): LangChain's has no index by session, and would be read through for each of them. After
    that each read is short, so that the program that writes there is never kept waiting.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._table = options.table or _TABLE
        self.name = f"sqlite {path.resolve()} {self._table}"
        self._only = sorted(options.sessions)
        # One thread at a time, by the lock.
        self._connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )
        self._lock = asyncio.Lock()
        try:
            self._id_key = self._column("session-id", options.session_id_key or _SESSION_ID_KEY)
            self._history_key = self._column("history", options.history_key or _HISTORY_KEY)
            self._look_up()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _column(self, option: str, name: str) -> str:
        """The column's name, quoted. Raises SettingsError, naming what there is."""
        tables = [row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type='table'")]
        if self._table not in tables:
            raise SettingsError(
                f"the file has no table {self._table!r} (--table); there are: "
                f"{', '.join(sorted(tables)) or 'none'}"
            )
        columns = [
            row[0] for row in self._rows("SELECT name FROM pragma_table_info(?)", self._table)
        ]
        if name not in columns:
            raise SettingsError(
                f"the table {self._table!r} has no column {name!r} (--{option}-key); there are: "
                f"{', '.join(columns)}"
            )
        return _quoted(name)

    def _look_up(self) -> None:
        self._connection.execute("PRAGMA temp_store = FILE")
        self._connection.execute(
            "CREATE TEMP TABLE places (session, id INTEGER, PRIMARY KEY (session, id))"
        )
        self._connection.execute(
            f"INSERT INTO places SELECT {self._id_key}, id FROM {_quoted(self._table)}"  # noqa: S608  # quoted
        )

    async def count(self) -> int:
        counts = "SELECT count(*) FROM places"
        if self._only:
            counts += f" WHERE session IN ({','.join('?' * len(self._only))})"
        return int((await self._read(counts, *self._only))[0][0])

    async def sessions(self) -> AsyncGenerator[SourceSession]:
        nameless = await self._read("SELECT 1 FROM places WHERE session IS NULL LIMIT 1")
        if nameless and not self._only:
            yield SourceSession(None, None)
        page = "SELECT DISTINCT session FROM places WHERE session > ? ORDER BY session LIMIT ?"
        last: Any = float("-inf")  # numbers come before texts
        while rows := await self._read(page, last, _ROWS_A_READ):
            for (key,) in rows:
                if not self._only or str(key) in self._only:
                    yield SourceSession(str(key), key)
            last = rows[-1][0]

    async def messages(self, session: SourceSession) -> AsyncGenerator[object]:
        page = (
            f"SELECT p.id, m.{self._history_key} "  # noqa: S608  # quoted names, no values
            f"FROM places p JOIN {_quoted(self._table)} m ON m.id = p.id "
            "WHERE p.session IS ? AND p.id > ? ORDER BY p.id LIMIT ?"
        )
        last = -1
        while rows := await self._read(page, session.key, last, _ROWS_A_READ):
            for _, stored in rows:
                yield Unreadable("is NULL") if stored is None else stored
            last = rows[-1][0]

    async def _read(self, query: str, *values: Any) -> list[Any]:
        return await self._in_thread(lambda: self._rows(query, *values))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    async def _in_thread(self, read: Callable[[], T]) -> T:
        async with self._lock:
            try:
                return await asyncio.to_thread(read)
            except sqlite3.Error as error:
                raise SourceLost(f"the file could not be read any more: {error}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
