"""What the doctor makes of what it saw. Pure."""

from typing import Literal, NamedTuple

import grpc

from turnkeep import TurnkeepError
from turnkeep.cli import failures

# Tokens and certificates begin and end by the clock; a machine that keeps it at all is well within.
MAX_SKEW_SECONDS = 5.0
_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


class Check(NamedTuple):
    """What one check found."""

    name: str
    verdict: Literal["ok", "failed", "skipped"]
    told: str
    remedy: str = ""


def token(error: TurnkeepError | None, *, given: bool) -> Check:
    """Whether the token, or the lack of one, was taken."""
    if error and error.code in _REFUSALS:
        return Check("token", "failed", error.message, failures.remedy_of(error))
    return Check("token", "ok", "not refused" if given else "none given, none asked for")


def history(error: TurnkeepError | None) -> Check:
    """Whether a call that reads came through."""
    if error is None:
        return Check("history", "ok", "a list of sessions came")
    if error.code in _REFUSALS:
        return Check("history", "skipped", "the server lets nobody in without a token it takes")
    return Check("history", "failed", failures.line_of(error))


def version(ours: str, theirs: str | None) -> Check:
    """Whether the client is made for the server: the same major, or below 1 the same minor."""
    if theirs is None:
        return Check("version", "skipped", f"client {ours}; the server does not tell its own")
    told = f"client {ours}, server {theirs}"
    if _series(ours) == _series(theirs):
        return Check("version", "ok", told)
    series = ".".join(_series(theirs))
    return Check("version", "failed", told, f"pip install 'turnkeep-client=={series}.*'")


def clock(server_ms: str | None, sent_at: float, answered_at: float) -> Check:
    """Whether the clocks agree. The server read its own (milliseconds since 1970) between the two
    times (seconds since 1970, by this machine's): what lies outside of them is skew for certain.
    """
    if server_ms is None or not server_ms.isdecimal():
        return Check("clock", "skipped", "the server does not tell its own")
    theirs = int(server_ms) / 1000
    middle, half = (sent_at + answered_at) / 2, abs(answered_at - sent_at) / 2
    skew = theirs - middle
    told = f"the server's is {abs(skew):.3f} s {'ahead' if skew > 0 else 'behind'}, ± {half:.3f} s"
    if abs(skew) - half <= MAX_SKEW_SECONDS:
        return Check("clock", "ok", told)
    return Check("clock", "failed", told, "set the clock of one of them by NTP")


def _series(version: str) -> list[str]:
    major, minor, *_ = [*version.split("."), "", ""]
    return [major, minor] if major == "0" else [major]
