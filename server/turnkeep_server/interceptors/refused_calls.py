"""Refused calls in the log: counted, a line a second of each kind, since anybody can make many."""

import asyncio
from collections import Counter
from contextvars import Context
from typing import NamedTuple

import structlog

from turnkeep_server.errors import BadCredentials, TurnkeepError

_TOLD_EVERY_SECONDS = 1.0


class RefusedCalls:
    """Counts the calls that get no log line of their own."""

    def __init__(self) -> None:
        self._counts = Counter[_Counted]()

    def count(self, error: TurnkeepError) -> None:
        """A call was refused with `error`; the log tells of it within a second."""
        if not self._counts:
            # In a context of its own: the lines are of many calls, not of the one that is refused.
            asyncio.get_running_loop().call_later(
                _TOLD_EVERY_SECONDS, self._tell, context=Context()
            )
        why = error.why if isinstance(error, BadCredentials) else None
        self._counts[_Counted(error.reason, error.metadata.get("limit"), error.tenant, why)] += 1

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter[_Counted]()
        for counted, calls in counts.items():
            told = {name: value for name, value in counted._asdict().items() if value}
            structlog.get_logger().warning("calls_refused", **told, calls=calls)


class _Counted(NamedTuple):
    """What the log tells of refusals: nothing that a caller could make up."""

    reason: str
    limit: str | None
    tenant: str
    refused_because: str | None
