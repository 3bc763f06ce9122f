"""The model of the benchmarks: a provider over HTTP that costs next to nothing, in its own process.

    .venv/bin/python -m benchmarks.model

Speaks OpenAI's chat completions; prints its address. What it says is fixed, so that no server
gains by another's luck, and it never parses what it is sent. It takes OpenTelemetry's
spans, too. POST /behaviour {"delay_seconds": 0.02, "hold": true} has each answer from then on wait
before its first byte, and each stream stop after its first delta until `hold` is false again.
"""

import asyncio
import json
from typing import Any

import click
from aiohttp import web

from tests.kit import openai_wire as wire
from tests.kit.ports import bound_socket

MODEL = "gpt-4o-mini"
REPLY = (
    "Конечно. Коротко: сначала проверьте исходные данные, затем повторите расчёт на малой "
    "выборке, и только после этого запускайте его целиком. 如果还有问题，请告诉我。 🙂"
)
CHARACTERS_A_DELTA = 5
"""About a token and a half: 31 deltas a reply."""
LARGEST_REQUEST_BYTES = 256 * 2**20

_USAGE = wire.usage(1_000, 60)
_WHOLE = json.dumps(wire.completion(MODEL, {"content": REPLY}, "stop", _USAGE)).encode()
_DELTAS = [
    wire.event(wire.chunk(MODEL, {"role": "assistant", "content": piece}))
    for piece in wire.cut(REPLY, CHARACTERS_A_DELTA)
]
_END = (
    wire.event(wire.chunk(MODEL, {}, "stop"))
    + wire.event(wire.choiceless_chunk(MODEL, usage=_USAGE))
    + wire.event("[DONE]")
)


class Model:
    """What answers; its behaviour is what was last posted."""

    def __init__(self) -> None:
        self._delay_seconds = 0.0
        self._go_on = asyncio.Event()
        self._go_on.set()

    async def behave(self, request: web.Request) -> web.Response:
        """Sets what the answers from now on do."""
        wanted: dict[str, Any] = await request.json()
        self._delay_seconds = wanted.get("delay_seconds", 0.0)
        (self._go_on.clear if wanted.get("hold") else self._go_on.set)()
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The one reply, whole or streamed as the caller asked."""
        body = await request.read()
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        # No text that the benchmarks send contains it.
        if b'"stream":true' in body or b'"stream": true' in body:
            return await self._stream(request)
        return web.Response(body=_WHOLE, content_type="application/json")

    async def traces(self, request: web.Request) -> web.Response:
        """A collector for OpenTelemetry's spans, which it reads and drops."""
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_DELTAS[0])
        await self._go_on.wait()
        for each in _DELTAS[1:]:
            await response.write(each)
        await response.write(_END)
        await response.write_eof()
        return response


async def main() -> None:
    """Serves until it is killed."""
    model = Model()
    app = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
    app.router.add_post("/v1/chat/completions", model.answer)
    app.router.add_post("/behaviour", model.behave)
    app.router.add_post("/v1/traces", model.traces)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with bound_socket() as listener:
        await web.SockSite(runner, listener, backlog=1_024).start()
        click.echo(f"model serving on 127.0.0.1:{listener.getsockname()[1]}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
