"""A real HTTP server that speaks OpenAI's chat completions, records every call and fails on demand.

    async with OpenAIStub() as stub:
        model = ChatOpenAI(base_url=stub.base_url, api_key="test", max_retries=0)
        stub.faults.append(Fault.CUT)

How a call is answered is fixed when it arrives; setting an attribute changes the calls after it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.kit import openai_wire as wire
from tests.kit.openai_answer import send
from tests.kit.openai_faults import Fault
from tests.kit.openai_script import Behaviour, Script
from tests.kit.ports import bound_socket

__all__ = ["Call", "Fault", "OpenAIStub"]

WAIT_SECONDS = 20.0
# aiohttp takes 0 for "wait as long as it takes".
AT_ONCE_SECONDS = 0.001


class Call:
    """One request to the model. Times are time.monotonic() seconds."""

    def __init__(self, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self.body = body
        self.headers = headers
        self.started_at = time.monotonic()
        self.closed_at: float | None = None
        """When the peer closed the connection before the answer was complete, or None."""
        self.ended_at: float | None = None
        """When it was over, finished or closed, or None."""
        self.finished = False
        """Whether the stub sent all that it meant to send, a fault's part included."""
        self._ended = asyncio.Event()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The model's input, as it came over the wire."""
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages

    @property
    def input(self) -> list[tuple[str, str]]:
        """The model's input as (role, text)."""
        return [(message["role"], wire.text_of(message)) for message in self.messages]

    @property
    def stream(self) -> bool:
        """Whether the caller asked for a stream."""
        return bool(self.body.get("stream"))

    async def ended(self, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Wait until the call is over, finished or closed; TimeoutError after the time given."""
        async with asyncio.timeout(timeout_seconds):
            await self._ended.wait()


class OpenAIStub:
    """A model provider on a free port of 127.0.0.1, open between __aenter__ and __aexit__."""

    def __init__(
        self,
        reply: Callable[[list[dict[str, Any]]], str] | None = None,
        *,
        delay_seconds: float = 0.0,
        delta_delay_seconds: float = 0.0,
    ) -> None:
        self.reply = reply or (lambda messages: f"reply to: {wire.text_of(messages[-1])}")
        """The messages of a call to the text of its answer."""
        self.delay_seconds = delay_seconds
        """The time before the first byte of an answer."""
        self.delta_delay_seconds = delta_delay_seconds
        """The time before each delta of a stream."""
        self.deltas: Callable[[str], list[str]] = lambda text: wire.cut(text, 4)
        """How a stream cuts its text."""
        self.count_tokens: Callable[[str], int] = wire.count_tokens
        """What usage is counted with: input tokens are the sum over the messages' texts."""
        self.retry_after: str | None = None
        """The Retry-After header of RATE_LIMITED: seconds or an HTTP date; None sends none."""
        self.gate: Callable[[Call], Awaitable[None]] | None = None
        """Awaited before a call is answered, to hold it or to look at it."""
        self.models: tuple[str, ...] = ()
        """The models that it lists; with none it has no such endpoint."""
        self.key: str | None = None
        """The only key that its list of models is for; None takes any."""
        self.faults: deque[Fault | None] = deque()
        """Consumed one a call, before `always` counts; None is a call that goes well."""
        self.calls: list[Call] = []
        """Every request, in order of arrival."""
        self._always: Fault | None = None
        self._arrived = asyncio.Condition()
        self._port: int | None = None
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """Where it listens. RuntimeError before it was opened."""
        if self._port is None:
            raise RuntimeError("the stub was not opened")
        return self._port

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is set to. The same for the stub's whole life."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def inputs(self) -> list[list[tuple[str, str]]]:
        """Every call's messages as (role, text), in order of arrival."""
        return [call.input for call in self.calls]

    def always(self, fault: Fault) -> None:
        """Every call from now on meets `fault`, once `faults` is used up."""
        self._always = fault

    def heal(self) -> None:
        """No faults from now on."""
        self._always = None
        self.faults.clear()

    async def arrived(self, count: int, timeout_seconds: float = WAIT_SECONDS) -> Call:
        """Wait until `count` calls have come in all and return that one."""
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)
        return self.calls[count - 1]

    async def refuse(self) -> None:
        """Be down: connections are refused, those that are open are closed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def resume(self) -> None:
        """Be up (again), on the same port."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1/models/{name}", self._list_models)
        # handler_cancellation is what makes a peer's hanging up reach _completions at once.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=AT_ONCE_SECONDS
        )
        await self._runner.setup()
        if self._port is None:
            listener = bound_socket()
            self._port = listener.getsockname()[1]
            await web.SockSite(self._runner, listener).start()
        else:
            await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def __aenter__(self) -> Self:
        await self.resume()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()

    async def _list_models(self, request: web.Request) -> web.Response:
        if self.key is not None and request.headers["Authorization"] != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        listed = [{"id": name, "object": "model"} for name in self.models]
        if (name := request.match_info.get("name")) is None:
            return web.json_response({"data": listed}, status=200 if listed else 404)
        found = [each for each in listed if each["id"] == name]
        return web.json_response(*found) if found else web.json_response({}, status=404)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        call = Call(await request.json(), request.headers)
        self.calls.append(call)
        fault = self.faults.popleft() if self.faults else self._always
        behaviour = self._behaviour()
        script = Script(call.body, fault, behaviour)
        async with self._arrived:
            self._arrived.notify_all()
        try:
            if self.gate is not None:
                await self.gate(call)
            response = await send(request, script, fault, behaviour)
        except (asyncio.CancelledError, ConnectionResetError):
            # Also raised when the stub itself goes down; then nobody has closed anything.
            if self._runner is not None:
                call.closed_at = time.monotonic()
            raise
        else:
            call.finished = True
            return response
        finally:
            call.ended_at = time.monotonic()
            call._ended.set()

    def _behaviour(self) -> Behaviour:
        return Behaviour(
            self.reply,
            self.delay_seconds,
            self.delta_delay_seconds,
            self.deltas,
            self.count_tokens,
            self.retry_after,
        )
