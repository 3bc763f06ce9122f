"""Structured logs on stderr: JSON for machines, or lines for people."""

import asyncio
import logging
import sys
import traceback
import warnings
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from turnkeep_server.library_logs import LibraryLogs
from turnkeep_server.settings import Settings

EventDict = MutableMapping[str, Any]


def configure_logs(settings: Settings, *, worker: int | None = None) -> None:
    """Sets up this process's logs, those of libraries included (from warnings up).

    `worker`: which one of several this process is, for every line to say so.
    """

    def numbered(_logger: Any, _method: str, event: EventDict) -> EventDict:
        return event if worker is None else {"worker": worker, **event}

    renderer: structlog.typing.Processor = (
        _Console(colors=sys.stderr.isatty())
        if for_people(settings)
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            numbered,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_exception_text,
            _in_order,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[LibraryLogs()], force=True)
    warnings.showwarning = _tell_warning


class _Console(structlog.dev.ConsoleRenderer):
    """Which takes a stack for text."""

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        if "stack" in event:
            event["stack"] = "\n".join(event["stack"])
        return super().__call__(logger, method, event)


def for_people(settings: Settings) -> bool:
    """Whether what goes to stderr is read by a person, and not by a collector of JSON lines."""
    return settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )


def _in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first, then the rest by name: the same order on every line."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **dict(sorted(event.items()))}


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tells a Python warning by its type and place: pydantic's quote what a model answered."""
    structlog.get_logger().warning(
        "python_warning", category=category.__name__, at=f"{filename}:{lineno}"
    )


def tell_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the event loop could not hand to anybody; asyncio's own words quote the exception."""
    error = context.get("exception")
    structlog.get_logger().error("event_loop_error", exc_info=error or None)


def _without_exception_text(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Tells an exception by its type and where it arose: its text may quote a message or a key."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        frames = traceback.extract_tb(info[2])
        event["error_type"] = info[0].__name__
        event["stack"] = [f"{each.filename}:{each.lineno} {each.name}" for each in frames]
    return event
