"""When a call that failed is sent again. Pure, but for the clock and the dice.

What it follows: https://github.com/grpc/proposal/blob/master/A6-client-retries.md (back-off with
full jitter, push-back) and google.rpc.RetryInfo.
"""

import math
import re
import time

import grpc

from turnkeep.errors import TurnkeepError

INITIAL_BACKOFF_SECONDS = 0.1
BACKOFF_FACTOR = 2.0
MAX_BACKOFF_SECONDS = 2.0
# gRPC takes some 200 years for a deadline that has passed.
LONGEST_SECONDS = 365 * 86_400.0
_SENT_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
# A server was too slow to keep its turn, and the turn FAILED: docs/errors.md.
_REASONS_SENT_AGAIN = {"TURN_TAKEN_OVER"}
# In gRPC's own words (OpenSSL's, in part): the server is not who it should be, or is not known to
# the authorities. That is UNAVAILABLE too, but does not pass by waiting.
_NOT_TRUSTED = re.compile("CERTIFICATE_VERIFY_FAILED|Hostname Verification Check failed")


class Attempts:
    """The attempts of one call, all within one deadline.

    `timeout_seconds` is for all of them together; over a year is a year. `max_attempts` bounds
    their number; None leaves that to the time. Raises ValueError for a time or a number that is
    not positive.
    """

    def __init__(self, timeout_seconds: float, max_attempts: int | None = None) -> None:
        if not 0 < timeout_seconds < math.inf:
            raise ValueError(f"timeout_seconds must be over 0 and finite, not {timeout_seconds}")
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {max_attempts}")
        self._ends_at = time.monotonic() + min(timeout_seconds, LONGEST_SECONDS)
        self._max_attempts = max_attempts
        self._failed = 0

    @property
    def remaining_seconds(self) -> float:
        """What is left for the next attempt; never below 0."""
        return max(self._ends_at - time.monotonic(), 0.0)

    def wait_seconds(self, error: TurnkeepError, pushback_ms: str | None = None) -> float:
        """How long to wait before the next attempt; raises `error` if there is to be none.

        UNAVAILABLE is sent again (but not for a certificate that is not trusted), a CANCELLED that
        nobody here asked for, TURN_TAKEN_OVER, and what says itself when (RetryInfo). Only where a
        wait leaves time for an attempt: better the error now than the same error later.
        """
        self._failed += 1
        if not self._may_succeed(error):
            raise error
        if self._failed == self._max_attempts:
            raise error
        seconds = self._wait(error.retry_after, pushback_ms, error)
        if seconds >= self.remaining_seconds:
            raise error
        return seconds

    @staticmethod
    def _may_succeed(error: TurnkeepError) -> bool:
        if error.reason in _REASONS_SENT_AGAIN:
            return True
        if not error.reason and _NOT_TRUSTED.search(error.message):
            return False
        return error.code in _SENT_AGAIN or error.retry_after is not None

    def _wait(
        self, retry_after: float | None, pushback_ms: str | None, error: TurnkeepError
    ) -> float:
        if pushback_ms is not None:
            if not pushback_ms.isascii() or not pushback_ms.isdigit():  # "-1": do not try again
                raise error
            return int(pushback_ms) / 1000
        backoff = min(
            INITIAL_BACKOFF_SECONDS * BACKOFF_FACTOR ** (self._failed - 1), MAX_BACKOFF_SECONDS
        )
        import random  # here, so that importing the client costs no more than it must

        # Full jitter on top of what the service asked for: not all of those it told come at once.
        return (retry_after or 0.0) + random.uniform(0, backoff)  # noqa: S311  # spread, no secret
