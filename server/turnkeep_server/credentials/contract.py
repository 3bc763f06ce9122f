"""The family's contract: a credential becomes a Caller, or BadCredentials."""

import hashlib
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from turnkeep_server.caller import Caller
from turnkeep_server.errors import BadCredentials


class Presented(NamedTuple):
    """A bearer token, and the SHA-256 by which it is looked up."""

    token: str
    digest: bytes

    @classmethod
    def of(cls, token: str) -> "Presented":
        """A token as it came."""
        return cls(token, hashlib.sha256(token.encode()).digest())


class TokenVerifier(ABC):
    """Knows one kind of bearer token. It is asked for every call, so it must cost little."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[None]:
        """Reads what tokens are checked against, and keeps it up to date until left.

        Raises SettingsError or StartupError if it cannot be read.
        """

    @abstractmethod
    def reload(self) -> None:
        """Have it read again soon, though nothing seems to have changed."""

    @abstractmethod
    async def caller(self, presented: Presented) -> Caller | None:
        """Whose token it is; None if it is none of this kind. Raises BadCredentials."""


def not_valid(why: str) -> BadCredentials:
    """A credential that is not good here. A stranger is not told what would make it better."""
    return BadCredentials("the credential is not valid here", why)


def expired(why: str) -> BadCredentials:
    """One that was good: whoever holds it may know that."""
    return BadCredentials("the credential has expired; get a new one", why)
