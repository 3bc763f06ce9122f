"""Chat completions over HTTP: the request that OpenAI's SDK would send, at a tenth of its cost.

The SDK looks at every field of every message, on the event loop, and makes objects of what comes
back. Here JSON goes out and JSON comes in, by aiohttp, whose parser is not Python. What fails,
fails with the SDK's own exceptions, so that `model_failures.py` need not know who asked.
"""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import aiohttp
import certifi
import openai
import orjson

from turnkeep_server.recording import trace_headers
from turnkeep_server.server_sent_events import EventData

_MOST_CONNECTIONS = 1_000  # as the SDK has it
# Shorter than what servers keep idle connections for: a POST on one that is being closed is lost.
_IDLE_SECONDS = 5.0
_DRAIN_SECONDS = 0.1
_DONE = b"[DONE]"
_NO_REQUEST = cast(Any, None)  # the SDK's exceptions keep one; ours have none of its kind


class Completions:
    """A provider's chat completions. Give it a session that it need not close."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def whole(self, body: Mapping[str, Any]) -> Any:
        """The answer to a request, parsed.

        Raises openai.APIError, TimeoutError, or ValueError for what is no JSON.
        """
        async with self._answered(body) as response:
            return json.loads(await response.read())

    async def events(self, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """The events of a streamed answer, parsed; raises as `whole`, and for an error event.

        Close it (`aclosing`) to have the connection closed, which ends the provider's work.
        """
        async with self._answered(body) as response:
            decoder = EventData()
            async for piece in response.content.iter_any():
                for data in decoder.feed(piece):
                    if data.startswith(_DONE):
                        await _drain(response)
                        return
                    yield _event(data)

    @asynccontextmanager
    async def _answered(self, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request that the provider did not refuse."""
        try:
            async with self._session.post(
                self._url, data=encoded(body), headers=trace_headers()
            ) as response:
                if response.status >= 300:
                    raise _refusal(response, await response.text(errors="replace"))
                yield response
        except TimeoutError:
            raise  # aiohttp's are ClientErrors too
        except aiohttp.ClientError as error:
            raise openai.APIConnectionError(request=_NO_REQUEST) from error


@asynccontextmanager
async def opened_completions(
    base_url: str, headers: Mapping[str, str], *, timeout_seconds: float
) -> AsyncIterator[Completions]:
    """Chat completions at `base_url`, each request with these headers; closed on leaving.

    A user and password in the URL go into the headers in place of the key, as the SDK has it.
    `timeout_seconds`: the longest silence, while it connects or answers.
    """
    connector = aiohttp.TCPConnector(
        limit=_MOST_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS, ssl=_trusted()
    )
    parts = urlsplit(base_url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = {**headers, "Authorization": f"Basic {base64.b64encode(login).decode()}"}
        base_url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    timeout = aiohttp.ClientTimeout(sock_connect=timeout_seconds, sock_read=timeout_seconds)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Completions(session, f"{base_url.rstrip('/')}/chat/completions")


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as the SDK writes it: short, and in UTF-8. It holds no NaN: options are validated.

    A lone surrogate, which is no UTF-8 and stops the SDK, is escaped.
    """
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _event(data: bytes) -> Any:
    event = json.loads(data.decode())
    if isinstance(event, dict) and (error := event.get("error")):
        said = error.get("message") if isinstance(error, dict) else None
        raise openai.APIError(str(said or "the stream broke"), request=_NO_REQUEST, body=error)
    return event


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Reads the end of a body that has said all: its connection can be used again only then."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in response.content.iter_any():
                pass


def _trusted() -> ssl.SSLContext:
    """The SDK's certificates: certifi's, unless the environment names others."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    return ssl.create_default_context(cafile=certifi.where())


# --- refusals, as the SDK tells them -------------------------------------------------------------

_BY_STATUS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


@dataclass(frozen=True, slots=True)
class _Response:
    """As much of the SDK's response as its exceptions read."""

    status_code: int
    headers: Mapping[str, str]
    request: None = None


def _refusal(response: aiohttp.ClientResponse, text: str) -> openai.APIStatusError:
    body: object = text
    with suppress(ValueError, RecursionError):
        body = json.loads(text)
    kind = openai.InternalServerError if response.status >= 500 else openai.APIStatusError
    return _BY_STATUS.get(response.status, kind)(
        f"Error code: {response.status} - {body}",
        response=cast(Any, _Response(response.status, response.headers)),
        body=body.get("error", body) if isinstance(body, dict) else body,
    )
