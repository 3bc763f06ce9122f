"""Wrong versions of the service, by name: what the suite must be able to catch.

Each is a small edit of the service's own text or of one of its constants, made in the server's
process by `launcher.ForkedServer`. An edit whose text is not there any more raises TargetGone: the
server does not start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymongo import IndexModel
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from tests.faults.torture.patching import Change, Edit, Replace, TargetGone

_CONNECTION = "turnkeep_server.history.mongodb_connection"
_HISTORY = "turnkeep_server.history.mongodb_history:MongoDBChatMessageHistory"
_DOCUMENTS = "turnkeep_server.history.mongodb_session:SessionDocuments"
_CONVERSATIONS = "turnkeep_server.conversations:Conversations"
_RUNNING = "turnkeep_server.running_turns:RunningTurns"
_RESERVATION = "turnkeep_server.reservation"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong service: what is wrong with it, the changes that make it so, who is to catch it."""

    wrong: str
    changes: tuple[Change, ...]
    section: str = "races"
    """Of the suite, in its quick size."""
    by: tuple[str, ...] = ()
    """The kinds of broken promises that count; none: all but calls that fail, which a machine that
    is short of time can have too."""


def apply_mutant(name: str) -> None:
    """Makes this process the mutant. Raises KeyError, or TargetGone."""
    for change in MUTANTS[name].changes if name in MUTANTS else FOUND_ELSEWHERE[name]:
        change.apply()


def _not_unique(name: str) -> Callable[[list[IndexModel]], list[IndexModel]]:
    """Without that index's uniqueness; the index stays, as reads name it."""

    def make(indexes: list[IndexModel]) -> list[IndexModel]:
        documents: list[dict[str, Any]] = [dict(each.document) for each in indexes]
        changed = [each for each in documents if each["name"] == name and each.pop("unique", None)]
        if len(changed) != 1:
            raise TargetGone(f"there is no unique index {name}")
        return [
            IndexModel(list(each.pop("key").items()), **each)  # type: ignore[arg-type]
            for each in documents
        ]

    return make


def _in_place_of(expected: object, made: object) -> Callable[[object], object]:
    def make(found: object) -> object:
        if found != expected:
            raise TargetGone(f"{found!r} is not {expected!r}")
        return made

    return make


MUTANTS: dict[str, Mutant] = {
    "no-unique-sequence": Mutant(
        "the index on (session, sequence) is not unique",
        (Replace(f"{_CONNECTION}:TURN_INDEXES", _not_unique("session_sequence")),),
    ),
    "no-unique-request-id": Mutant(
        "the index on (session, request_id) is not unique",
        (Replace(f"{_CONNECTION}:TURN_INDEXES", _not_unique("session_request")),),
    ),
    "w1": Mutant(
        "a write is acknowledged by one node, before its journal",
        (
            Replace(
                f"{_CONNECTION}:_DURABLE",
                _in_place_of(WriteConcern(w="majority", j=True), WriteConcern(w=1, j=False)),
            ),
        ),
        "mongod",
    ),
    "no-shield": Mutant(
        "the commit is cancelled with its caller",
        (
            Edit(
                f"{_RUNNING}.commit",
                "await self._writes.seen_through(write(), running.deadline)",
                "await write()",
            ),
            Edit(
                f"{_CONNECTION}:MongoDBConnection._within",
                "        await waiting\n",
                "        await waiting\n"
                "    except asyncio.CancelledError:\n"
                "        task.cancel()\n"
                "        raise\n",
            ),
        ),
    ),
    "no-tombstone": Mutant(
        "a clear deletes, and leaves no tombstone",
        (Edit(f"{_DOCUMENTS}.entomb", "if await self._place_tombstone(head + 1):", "if True:"),),
    ),
    "lease-ignored": Mutant(
        "another server's running turn is taken over at once",
        (Edit(f"{_HISTORY}.end_if_dead", "if turn.owner != self._leases.owner:", "if False:"),),
    ),
    "never-taken-over": Mutant(
        "a dead server's turn is never ended",
        (
            Edit(
                f"{_HISTORY}.end_if_dead",
                "if not self._leases.is_dead(turn_id, expired_at):",
                "if True:",
            ),
        ),
        "kills",
        by=("calls failed",),
    ),
    "leases-not-renewed": Mutant(
        "leases are not renewed: a long turn is ended though its server lives",
        (
            Edit(
                "turnkeep_server.history.mongodb_leases:Leases.renew",
                "if not self._held:",
                "if True:",
            ),
        ),
    ),
    "no-fingerprint": Mutant(
        "a request_id that is used for another request is answered with the first one's turn",
        (
            Edit(
                f"{_RESERVATION}:_check_fingerprint",
                "if turn.fingerprint != claim.fingerprint:",
                "if False:",
            ),
        ),
    ),
    "replay-asks-model": Mutant(
        "a repeated request asks the model again before its stored answer is sent",
        (
            Edit(
                f"{_CONVERSATIONS}.chat",
                "return _logged(Finished(place.turn, replayed=True))",
                "await self._chain.reply(await self._question(request), deadline)\n"
                "            return _logged(Finished(place.turn, replayed=True))",
            ),
        ),
    ),
    "commit-unfiltered": Mutant(
        "the commit looks neither at the turn's owner nor at its status",
        (
            Edit(
                f"{_HISTORY}._finish",
                'ours = {**self._documents.running(turn), "owner": {"$eq": turn.owner}}',
                "ours = self._documents.place(turn)",
            ),
        ),
        "frozen",
    ),
    "stale-reads": Mutant(
        "what is read comes from a secondary, with local read concern",
        (
            Replace(
                f"{_CONNECTION}:ReadConcern",
                _in_place_of(ReadConcern, lambda _: ReadConcern("local")),
            ),
            Replace(f"{_CONNECTION}:ReadPreference", lambda _: _FromSecondary),
        ),
        "stale",
    ),
    "answer-before-commit": Mutant(
        "a turn is answered while its commit is under way",
        (
            Edit(
                f"{_RUNNING}.commit",
                "return await self._writes.seen_through(write(), running.deadline)",
                "self._writes.begun(write())\n        return running.turn.completed(reply)",
            ),
        ),
    ),
    "two-documents": Mutant(
        "AddMessages stores each message as a document of its own",
        (
            Edit(
                f"{_HISTORY}.append",
                "    await self._insert(turn, {}, deadline=self._deadline)\n",
                "    import dataclasses\n"
                "    for n, message in enumerate(turn.messages):\n"
                "        part = dataclasses.replace(\n"
                "            turn, id=str(ObjectId()), sequence=sequence + n,\n"
                "            messages=(message,),\n"
                "            request_id=turn.request_id if n == 0 else '',\n"
                "        )\n"
                "        await self._insert(part, {}, deadline=self._deadline)\n",
            ),
        ),
    ),
    "clear-half-seen": Mutant(
        "a reader of a page does not look for a tombstone",
        (Edit(f"{_HISTORY}.page", "floor = await self._documents.floor()", "floor = 0"),),
        "clears",
    ),
    "request-id-kept": Mutant(
        "a turn that failed keeps its request_id",
        (
            Edit(
                "turnkeep_server.history.mongodb_history:_gives_up",
                '{"lease_expires_at": "", "request_id": ""}',
                '{"lease_expires_at": ""}',
            ),
        ),
    ),
    "failed-turns-sent": Mutant(
        "a turn that failed is sent to the model with those that completed",
        (
            Edit(
                "turnkeep_server.context:fit",
                "if turn.status is not TurnStatus.COMPLETED:",
                "if turn.status is TurnStatus.RUNNING:",
            ),
        ),
    ),
    "text-logged": Mutant(
        "the log tells what was said",
        (
            Edit(
                "turnkeep_server.conversations:_logged",
                "input_tokens=turn.usage.input_tokens,",
                "input_tokens=turn.usage.input_tokens, said=turn.messages[0].text,",
            ),
        ),
        by=("SecretLeaked",),
    ),
}

FOUND_ELSEWHERE: dict[str, tuple[Change, ...]] = {
    "error-text-logged": (
        Edit(
            "turnkeep_server.interceptors.errors:_tell_cause",
            "cause=type(cause).__name__",
            "cause=str(cause)",
        ),
    ),
    "name-taken-for-granted": (
        Edit(
            "turnkeep_server.history.mongodb_documents:_message_of",
            'document.get("name", "")',
            'document["name"]',
        ),
    ),
    "value-quoted": (
        Edit(
            "turnkeep_server.validation:_id",
            '"must be printable ASCII characters without a space"',
            'f"must be printable ASCII characters without a space, not {value}"',
        ),
    ),
}
"""Mutants that these callers do not provoke; tests/fuzz and tests/rpc/test_canary.py do."""


class _FromSecondary:
    """In the place of pymongo's ReadPreference."""

    PRIMARY = ReadPreference.SECONDARY_PREFERRED
