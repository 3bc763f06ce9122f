"""Page tokens: where the next page begins, opaque to callers. Pure."""

import base64
import binascii
import hashlib
import json
from typing import Any

from turnkeep_server.errors import FieldViolation, InvalidRequest

_VERSION = 1
_LONGEST_TOKEN_CHARS = 1_024
_BEYOND_ANY_MOMENT_MS = 253_402_300_800_000  # the year 10000, where datetime ends


def page_token(position: tuple[int | str, ...], *listing: object) -> str:
    """A token for the page that begins at `position` of a listing.

    `listing` says what is listed; the token is good for that alone. Positions name a place in the
    data, not a count, so that a token survives appends.
    """
    text = json.dumps([_VERSION, _digest(listing), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_in(token: str, kinds: tuple[type, ...], *listing: object) -> list[Any] | None:
    """The position that a token names, values of these kinds; None for an empty token.

    Raises InvalidRequest for a token that is none, or of another listing.
    """
    if not token:
        return None
    if len(token) > _LONGEST_TOKEN_CHARS:
        raise _bad("is no page token; send next_page_token back as it came")
    position: list[Any]
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        version, digest, *position = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _bad("is no page token; send next_page_token back as it came") from None
    if version != _VERSION or digest != _digest(listing):
        raise _bad("is of another listing; keep all other fields as on the first page")
    if [type(each) for each in position] != list(kinds) or not all(map(_sane, position)):
        raise _bad("is no page token; send next_page_token back as it came")
    return position


def _sane(value: int | str) -> bool:
    """Whether a position that looks right can be one: a count, a moment in ms, or an id."""
    if isinstance(value, str):
        return value.isascii() and value.isprintable()
    return 0 <= value < _BEYOND_ANY_MOMENT_MS


def _digest(listing: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:12]


def _bad(description: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation("page_token", description)])
