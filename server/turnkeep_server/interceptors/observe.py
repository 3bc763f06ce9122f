"""One log line a call: method, code, milliseconds, request_id, tokens. Never a text."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from turnkeep_server.caller import current_caller
from turnkeep_server.interceptors.around import Call, CallInterceptor
from turnkeep_server.recording import Metadata, Recorder
from turnkeep_server.records import CANCELLED

_TROUBLE = {"INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"}  # somebody should look


class ObserveInterceptor(CallInterceptor):
    """Logs each call when it ends; what the layers within bind to the log's context goes along."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(method=call.method)
        with self._recorder.recording(call.method, lambda: _metadata(call)) as record:
            if record.trace:
                structlog.contextvars.bind_contextvars(trace_id=f"{record.trace.trace_id:032x}")
            began, record.code = time.perf_counter(), CANCELLED
            try:
                yield
                record.code = "OK"
            except Exception:
                # Only an abort comes here; it has set the code.
                record.code = call.context.code().name
                raise
            finally:
                caller = current_caller.get(None)
                record.tenant = caller.tenant if caller else ""
                code, ms = record.code, round((time.perf_counter() - began) * 1000, 1)
                log = structlog.get_logger()
                # Strangers' calls are counted (auth.py): their lines could fill a disk.
                usual = log.info if caller else log.debug
                (log.warning if code in _TROUBLE else usual)("call", code=code, ms=ms)


def _metadata(call: Call) -> Metadata:
    return [*(call.context.invocation_metadata() or ())]
