"""One log line a call: method, code, milliseconds, request_id, tokens. Never a text."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from turnkeep_server.interceptors.around import Call, CallInterceptor

_TROUBLE = {"INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"}  # somebody should look


class ObserveInterceptor(CallInterceptor):
    """Logs each call when it ends; what the layers within bind to the log's context goes along."""

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(method=call.method)
        began, code = time.perf_counter(), "CANCELLED"
        try:
            yield
            code = "OK"
        except Exception:
            # Only an abort comes here; it has set the code.
            code = call.context.code().name
            raise
        finally:
            ms = round((time.perf_counter() - began) * 1000, 1)
            log = structlog.get_logger()
            (log.warning if code in _TROUBLE else log.info)("call", code=code, ms=ms)
