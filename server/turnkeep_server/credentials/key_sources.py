"""Where the public keys of JWTs come from: a file, or the issuer's URL."""

import asyncio
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import certifi
import structlog

from turnkeep_server.background import running
from turnkeep_server.credentials.key_sets import KeySet
from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.watched_file import WatchedFile

_VARIABLE = "TURNKEEP_JWT_JWKS"
_FETCH_SECONDS = 5.0
# Tokens can name any key: whoever sends rubbish makes no more than this many requests.
_LEAST_PAUSE_SECONDS = 10.0
_MAX_BYTES = 2**20

Parse = Callable[[bytes], KeySet]


class KeySource(ABC):
    """Public keys that may change."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[None]:
        """Reads them, and follows them until left. Raises SettingsError or StartupError."""

    @abstractmethod
    def reload(self) -> None:
        """Have them read again soon."""

    @abstractmethod
    async def current(self) -> KeySet:
        """The keys as known; another object when they have changed."""

    async def newer(self) -> KeySet:
        """The keys as they are, for a token whose key is not known (yet)."""
        return await self.current()


def key_source(place: str, parse: Parse, *, refresh_seconds: float) -> KeySource:
    """The source at a place: an http(s) URL, or the path of a file."""
    if "://" in place:
        return _Url(place, parse, refresh_seconds)
    return _File(Path(place), parse)


class _File(KeySource):
    def __init__(self, path: Path, parse: Parse) -> None:
        self._file = WatchedFile(path, parse, variable=_VARIABLE)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self._file.first()
        yield

    def reload(self) -> None:
        self._file.reload()

    async def current(self) -> KeySet:
        return await self._file.current()


class _Url(KeySource):
    """Fetched at the start, now and then, and for a key that is not known, within bounds."""

    def __init__(self, url: str, parse: Parse, refresh_seconds: float) -> None:
        self._url = url
        self._parse = parse
        self._refresh_seconds = refresh_seconds
        self._asked = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._may_fetch_at = 0.0
        self._content = b""
        self._keys = KeySet(())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(ssl=_trusted())
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        # In the clear a proxy could answer with keys of its own: http: is for this machine alone.
        proxied = urlsplit(self._url).scheme == "https"
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=proxied
        ) as self._session:
            await self._fetch()
            async with running(self._follow, "jwks"):
                try:
                    yield
                finally:
                    if self._fetching:
                        self._fetching.cancel()

    def reload(self) -> None:
        self._asked.set()

    async def current(self) -> KeySet:
        return self._keys

    async def newer(self) -> KeySet:
        if self._fetching or asyncio.get_running_loop().time() >= self._may_fetch_at:
            await self._fetched()
        return self._keys

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._refresh_seconds)
            self._asked.clear()
            await self._fetched()

    async def _fetched(self) -> None:
        """Once for all who want it; a caller who hangs up does not end it for the others."""
        if self._fetching is None:
            # In a context of its own: what is told of it is told of no call.
            self._fetching = asyncio.create_task(self._fetch_or_tell(), context=Context())
        await asyncio.shield(self._fetching)

    async def _fetch_or_tell(self) -> None:
        try:
            await self._fetch()
        except (SettingsError, StartupError) as error:
            structlog.get_logger().error("jwks_not_refreshed", problem=str(error))
        finally:
            self._fetching = None

    async def _fetch(self) -> None:
        self._may_fetch_at = asyncio.get_running_loop().time() + _LEAST_PAUSE_SECONDS
        try:
            content = await self._downloaded()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failure(type(error).__name__) from error
        if content != self._content:
            self._keys, self._content = self._parse(content), content
            structlog.get_logger().info("jwks_loaded", keys=len(self._keys.keys))

    async def _downloaded(self) -> bytes:
        # A redirect might lead from https to anywhere.
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise self._failure(f"HTTP status {response.status}")
            content = b""
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise self._failure(f"over {_MAX_BYTES} bytes")
            return content

    def _failure(self, why: str) -> StartupError:
        parts = urlsplit(self._url)
        shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        return StartupError(
            f"{_VARIABLE}: {shown} cannot be read ({why}); without the issuer's keys no token can "
            "be verified"
        )


def _trusted() -> ssl.SSLContext:
    """Certifi's authorities, unless the environment names others: as where the model is asked."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
