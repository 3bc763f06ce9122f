"""Where an issuer publishes its keys: a real HTTP server on this machine."""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web


class JwksServer:
    """Serves `jwks` at `url`; counts requests. `status` other than 200 is an error."""

    def __init__(self, jwks: str = "") -> None:
        self.jwks = jwks
        self.status = 200
        self.delay_seconds = 0.0
        self.requests = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/jwks"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        await asyncio.sleep(self.delay_seconds)
        headers = {"Location": "https://elsewhere.invalid/"} if self.status == 302 else {}
        return web.Response(text=self.jwks, status=self.status, headers=headers)
