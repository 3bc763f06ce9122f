# Made by `make sync-client` out of ../client.py: change that, not this.
"""The client: one connection to the service, and the sessions on it."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from turnkeep.channel import Certificate, Tls
from turnkeep.messages import SessionInfo
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.wire import session_from_wire

from .calls import Calls, Token
from .session import Session

DEFAULT_TIMEOUT_SECONDS = 60.0
_PAGE_SIZE = 200


class ConversationClient:
    """A client of Turnkeep. Make one for a whole process and share it; leaving the block closes it.

    `target` is host:port or any gRPC target: `dns:///turnkeep:50051` for every address of a name,
    `ipv4:10.0.0.1:50051,10.0.0.2:50051` for several servers, `unix:PATH`. Calls go to the healthy
    ones in turn.
    `token` is sent as a bearer token; a function is asked for it before every attempt, so that it
    may change.
    `tls` is True for the system's certificate authorities, a path for those in a PEM file, or
    gRPC's own credentials. Without it everything goes in the clear, which is refused for a token
    that would leave this machine (False allows it).
    `certificate` is the client's own for a server that asks for one (mTLS): the paths of its PEM
    file and of its key's. Both are read now; make a new client when they are replaced.
    `timeout_seconds` is for each call, all its attempts together, unless the call has its own.
    `max_attempts` bounds the attempts of a call; without it the time does. 1 never tries again.

    Raises ValueError for what cannot be; whether anybody listens shows with the first call.
    """

    def __init__(
        self,
        target: str,
        *,
        token: Token | None = None,
        tls: Tls = None,
        certificate: Certificate | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_attempts: int | None = None,
    ) -> None:
        self._calls = Calls(
            target,
            token=token,
            tls=tls,
            certificate=certificate,
            timeout_seconds=timeout_seconds,
            max_attempts=max_attempts,
        )

    def session(self, session_id: str, user_id: str = "") -> Session:
        """A session of a user; it need not exist. "" is a user of its own.

        Raises TypeError for an id that is no text.
        """
        return Session(self._calls, session_id, user_id)

    def sessions(
        self,
        user_id: str = "",
        *,
        page_size: int = _PAGE_SIZE,
        timeout_seconds: float | None = None,
    ) -> Iterator[SessionInfo]:
        """A user's sessions, newest activity first, fetched a page at a time as they are read.

        `timeout_seconds` is for each page. Raises TurnkeepError.
        """
        request = pb.ListSessionsRequest(user_id=user_id, page_size=page_size)
        while True:
            page = self._calls.unary(self._calls.stub.ListSessions, request, timeout_seconds)
            for each in page.sessions:
                yield session_from_wire(each)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def close(self) -> None:
        """Ends running calls and closes the connection. Calls after it raise RuntimeError."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
