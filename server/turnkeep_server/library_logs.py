"""What libraries log: which line of their code did so and how often, never what it quotes."""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from typing import Any, NamedTuple, Self

import structlog

_TOLD_EVERY_SECONDS = 1.0


class LibraryLogs(logging.Handler):
    """Tells records of Python's `logging` in our own form, `library_record`.

    What fills a record's template may be what a stranger sent: gRPC quotes a header that is no
    UTF-8, with the key in it, before anybody has looked at the call. Nor is a message without
    arguments told: it may have been filled in before.

    The first record of a kind is told at once, those that follow are counted and told a line a
    second: anybody can make many.
    """

    def __init__(self) -> None:
        super().__init__()
        self._untold: dict[_Kind, int] = {}
        """How many were not told, of each kind that was told within the last second."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held, in any thread."""
        kind = _Kind.of(record)
        if kind in self._untold:
            self._untold[kind] += 1
        else:
            self._tell(kind, exc_info=record.exc_info)

    def flush(self) -> None:
        """Tells what has been counted; `logging` calls it when the process ends."""
        for kind in [*self._untold]:
            self._tell_untold(kind)

    def _tell_untold(self, kind: "_Kind") -> None:
        self.acquire()
        try:
            if times := self._untold.pop(kind, 0):
                self._tell(kind, times)
        finally:
            self.release()

    def _tell(self, kind: "_Kind", times: int = 1, **more: Any) -> None:
        # Without a thread, or with stderr gone, a library is not to fail for what it logged.
        with suppress(RuntimeError):
            timer = threading.Timer(_TOLD_EVERY_SECONDS, self._tell_untold, [kind])
            timer.daemon = True
            timer.start()
            self._untold[kind] = 0
        log = structlog.get_logger().log
        with suppress(Exception):
            # In a context of its own: the call in which a library happens to log may be anybody's.
            Context().run(log, kind.level, "library_record", **kind.told(), times=times, **more)


class _Kind(NamedTuple):
    """What is told of a record: by its template, or else by its place."""

    level: int
    logger: str
    template: str
    at: str
    error_type: str

    @classmethod
    def of(cls, record: logging.LogRecord) -> Self:
        raised = record.exc_info[0] if record.exc_info else None
        return cls(
            # structlog knows the standard ones alone.
            level=min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL),
            logger=record.name,
            template=str(record.msg) if record.args else "",
            at="" if record.args else f"{record.pathname}:{record.lineno}",
            error_type=raised.__name__ if raised else "",
        )

    def told(self) -> Mapping[str, str]:
        fields = self._asdict()
        del fields["level"]
        return {name: value for name, value in fields.items() if value}
