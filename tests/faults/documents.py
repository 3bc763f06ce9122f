"""Long histories, written straight into MongoDB in the service's own form."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from turnkeep_server.history.mongodb_documents import Document, key_fields, turn_document
from turnkeep_server.turns import Message, Role, SessionKey, Turn, TurnStatus

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_APART = timedelta(seconds=1)


def session_key(session_id: str, user_id: str = "") -> SessionKey:
    """The key of a session of the one tenant there is."""
    return SessionKey("default", user_id, session_id)


def turn_documents(session: SessionKey, turns: int) -> Iterator[Document]:
    """A session's completed turns, 1 to `turns`, each a question and its reply."""
    for sequence in range(1, turns + 1):
        yield turn_document(session, _turn(sequence, TurnStatus.COMPLETED))


def abandoned_turn_document(session: SessionKey, sequence: int) -> Document:
    """A running turn of a server that died a long time ago."""
    document = turn_document(session, _turn(sequence, TurnStatus.RUNNING))
    return {**document, "owner": "dead", "lease_expires_at": _FIRST}


def session_document(session: SessionKey, place: int) -> Document:
    """A session as it is listed; the higher its place, the newer its last activity."""
    return {
        **key_fields(session),
        "last_sequence": 10,
        "message_count": 20,
        "created_at": _FIRST,
        "updated_at": _FIRST + place * _APART,
        "listed": True,
    }


def _turn(sequence: int, status: TurnStatus) -> Turn:
    at = _FIRST + sequence * _APART
    question = Message(Role.USER, f"question {sequence}", created_at=at)
    reply = Message(Role.ASSISTANT, f"reply {sequence}", created_at=at)
    completed = status is TurnStatus.COMPLETED
    return Turn(
        id="",
        sequence=sequence,
        status=status,
        messages=(question, reply) if completed else (question,),
        messages_before=2 * (sequence - 1),
        created_at=at,
        request_id=f"r-{sequence}",
        fingerprint="of another request",
        model="gpt-4o-mini",
        completed_at=at if completed else None,
    )
