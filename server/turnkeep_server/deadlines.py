"""The time that a call has left."""

import asyncio
from dataclasses import dataclass

_ANSWER_SHARE = 0.1
_LONGEST_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the event loop's clock, in seconds; not the wall clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline `seconds` from now; needs a running event loop."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @classmethod
    def of_call(
        cls, remaining_seconds: float | None, *, default_seconds: float, cap_seconds: float
    ) -> "Deadline":
        """The deadline for the work of one RPC.

        `remaining_seconds` is what the caller allows, None if it set nothing. A tenth of it (at
        most a second) is kept back: the work must end, and its outcome be stored and answered,
        before gRPC cuts the call off and the caller learns nothing.
        """
        if remaining_seconds is None:
            return cls.after(min(default_seconds, cap_seconds))
        kept_back = min(remaining_seconds * _ANSWER_SHARE, _LONGEST_ANSWER_SECONDS)
        return cls.after(min(remaining_seconds - kept_back, cap_seconds))

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - asyncio.get_running_loop().time())

    def passed(self) -> bool:
        """Whether there is no time left."""
        return self.remaining() <= 0.0
