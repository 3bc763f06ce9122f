"""How often something may happen: so many times a second, and some at once."""


class TokenBucket:
    """Lets `per_second` in on average and `burst` at once. Times are seconds on any one clock.

    The generic cell rate algorithm, which is a token bucket that keeps one number, the time at
    which it would be full again: https://www.rfc-editor.org/rfc/rfc2697 counts the tokens instead.
    """

    __slots__ = ("_full_at", "_interval", "_room")

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._room = (burst - 1) * self._interval
        self._full_at = float("-inf")

    def wait_seconds(self, now: float) -> float:
        """How long until one more would be let in; 0 if it would be now."""
        return max(0.0, self._full_at - self._room - now)

    def take(self, now: float) -> None:
        """Counts one that was let in."""
        self._full_at = max(self._full_at, now) + self._interval

    def is_full(self, now: float) -> bool:
        """Whether it is as it was at first."""
        return self._full_at <= now
