"""`MongoDBChatMessageHistory`: a session's turns, one document a turn, each operation one write."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import SessionCleared, TurnTakenOver
from turnkeep_server.history.contract import Cleared, RequestIdTaken, SequenceTaken, Tail
from turnkeep_server.history.langchain import LangChainChatMessageHistory
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import (
    Document,
    ending_fields,
    object_id,
    turn_document,
    turn_of,
    visible_turns,
)
from turnkeep_server.history.mongodb_indexes import BY_REQUEST, BY_STATUS, STATUSES_INDEXED
from turnkeep_server.history.mongodb_leases import Leases
from turnkeep_server.history.mongodb_session import SessionDocuments
from turnkeep_server.history.mongodb_sessions import SessionsView
from turnkeep_server.history.mongodb_summaries import SummaryDocuments
from turnkeep_server.turns import Reply, SessionKey, Summary, Turn, TurnDraft, TurnStatus


class MongoDBChatMessageHistory(LangChainChatMessageHistory):
    """One session's turns in MongoDB, for one request.

    Reads and appends end at `deadline`; what begins and ends a turn does not, only at the operation
    timeout.
    """

    def __init__(
        self,
        session: SessionKey,
        *,
        connection: MongoDBConnection,
        leases: Leases,
        view: SessionsView,
        deadline: Deadline | None = None,
    ) -> None:
        self.session = session
        self._connection = connection
        self._turns = connection.turns
        self._leases = leases
        self._view = view
        self._deadline = deadline
        self._documents = SessionDocuments(session, connection, deadline)
        self._summaries = SummaryDocuments(self._documents, connection)

    async def tail(self, limit: int) -> Tail:
        documents = await self._documents.read({}, limit=limit)
        turns = visible_turns(documents)
        head = documents[0]["sequence"] if documents else 0
        return Tail(turns, head, whole=len(turns) < limit)

    async def begin(self, draft: TurnDraft, sequence: int) -> Turn:
        turn_id = ObjectId()
        turn = draft.placed(str(turn_id), sequence, TurnStatus.RUNNING, owner=self._leases.owner)
        # Held before it is written: a turn of ours that we do not hold counts as given up.
        self._leases.hold(turn_id)
        try:
            await self._insert(turn, {"lease_expires_at": self._leases.expiry()}, deadline=None)
            await self._list_if_first(turn)
        except BaseException:
            self._leases.release(turn_id)
            raise
        return turn

    async def append(self, draft: TurnDraft, sequence: int) -> Turn:
        owner = self._leases.owner
        turn = draft.placed(str(ObjectId()), sequence, TurnStatus.COMPLETED, owner=owner)
        await self._insert(turn, {}, deadline=self._deadline)
        self._view.note(self.session, turn)
        await self._list_if_first(turn)
        return turn

    async def append_all(self, drafts: Sequence[TurnDraft], sequence: int) -> Sequence[Turn]:
        owner = self._leases.owner
        turns = [
            draft.placed(str(ObjectId()), sequence + n, TurnStatus.COMPLETED, owner=owner)
            for n, draft in enumerate(drafts)
        ]
        documents = [
            {"_id": object_id(each), **turn_document(self.session, each)} for each in turns
        ]
        all_stored = await self._documents.insert_in_order(documents)
        await self._check_not_buried(*turns)
        if not all_stored:
            raise SequenceTaken
        self._view.note(self.session, turns[-1])
        await self._view.flush_session(self.session, self._deadline)
        return turns

    async def complete(self, turn: Turn, reply: Reply) -> Turn:
        completed = turn.completed(reply)
        await self._finish(turn, completed, {"$unset": {"lease_expires_at": ""}})
        return completed

    async def fail(self, turn: Turn, status: TurnStatus, failure: str, partial_text: str) -> None:
        await self._finish(turn, turn.ended(status, failure, partial_text), _gives_up(turn))

    async def find(self, request_id: str) -> Turn | None:
        wanted = {"request_id": {"$eq": request_id}}
        found = await self._documents.read(wanted, limit=1, hint=BY_REQUEST)
        if not found:
            return None
        document = found[0]
        floor = await self._documents.floor()
        if document["sequence"] < floor:
            # A clear died after its tombstone and before its delete: finish it.
            await self._documents.delete_below(floor)
            return None
        return turn_of(document)

    async def is_running(self, turn: Turn) -> bool:
        running = self._documents.running(turn)
        return bool(await self._documents.read(running, limit=1, fields={"_id": 1}))

    async def announce_wait(self, turn: Turn) -> None:
        if turn.owner == self._leases.owner:
            return
        running = self._documents.running(turn)
        word = {"$set": {"awaited_by": self._leases.owner}}
        await self._connection.run(lambda: self._turns.update_one(running, word), self._deadline)

    def is_awaited_elsewhere(self, turn: Turn) -> bool:
        return turn.awaited_by not in {"", self._leases.owner}

    async def take_over(self, turn: Turn) -> bool:
        ours = turn.owner == self._leases.owner
        return await self.end_if_dead(turn, None if ours else await self._lease_that_ran_out(turn))

    async def end_if_dead(self, turn: Turn, expired_at: datetime | None) -> bool:
        """Ends a running turn that nobody works on; whether it did.

        `expired_at`: when its lease ran out, as just read by the database's clock; None if it has
        not. Raises HistoryUnavailable.
        """
        turn_id = object_id(turn)
        if self._leases.holds(turn_id):
            return False
        running = self._documents.running(turn)
        if turn.owner != self._leases.owner:
            if not self._leases.is_dead(turn_id, expired_at):
                return False
            running["lease_expires_at"] = {"$eq": expired_at}
        ended = turn.ended(TurnStatus.FAILED, TurnTakenOver.reason, "")
        change = _update(ended, _gives_up(turn))
        outcome = await self._connection.run(
            lambda: self._turns.update_one(running, change), self._deadline
        )
        self._leases.forget(turn_id)
        if outcome.matched_count:
            self._leases.taken_over += 1
            self._view.note(self.session, ended)
        return bool(outcome.matched_count)

    async def _lease_that_ran_out(self, turn: Turn) -> datetime | None:
        """When the running turn's lease ran out; None if it has not, by the database's clock.

        The only clock that all servers share.
        """
        expired = {
            **self._documents.running(turn),
            "$expr": {"$lt": ["$lease_expires_at", "$$NOW"]},
        }
        found = await self._documents.read(expired, limit=1, fields={"lease_expires_at": 1})
        return found[0]["lease_expires_at"] if found else None

    async def clear_session(self) -> Cleared:
        tombstone = await self._documents.entomb()
        if tombstone == 0:
            return Cleared()
        self._view.note_clear(self.session, tombstone)
        cleared = await self._documents.count_below(tombstone)
        await self._documents.delete_below(tombstone)
        await self._view.flush_session(self.session, self._deadline)
        return cleared

    async def finish_clear(self, tombstone: int) -> None:
        """Deletes what a clear covers and takes the session off the list."""
        self._view.note_clear(self.session, tombstone)
        await self._documents.delete_below(tombstone)

    async def page(
        self,
        statuses: Collection[TurnStatus],
        *,
        limit: int,
        newest_first: bool = False,
        after: int | None = None,
    ) -> Sequence[Turn]:
        values = [each.value for each in statuses]
        wanted: Document = {"status": {"$in": values}}
        # Of one status alone, the index by status has them in order, past any number of others.
        hint = BY_STATUS if len(values) == 1 and STATUSES_INDEXED.issuperset(values) else None
        while True:
            if after is not None:
                wanted["sequence"] = {"$lt" if newest_first else "$gt": after}
            documents = await self._documents.read(
                wanted, limit=limit, newest_first=newest_first, hint=hint
            )
            # Read after the turns: whatever a clear had begun to delete of them by then, its
            # tombstone is seen here, and all that it covers is dropped.
            floor = await self._documents.floor()
            above = [each for each in documents if each["sequence"] > floor]
            if newest_first or len(above) == len(documents):
                return [turn_of(each) for each in above]
            after = floor

    async def summary(self) -> Summary | None:
        return await self._summaries.newest()

    async def claim_summary(self, after: Summary | None, seconds: float) -> bool:
        return await self._summaries.claim(after, seconds)

    async def summarize(self, summary: Summary) -> bool:
        return await self._summaries.write(summary)

    # --- one write each -------------------------------------------------------------------------

    async def _insert(self, turn: Turn, evaluated: Document, *, deadline: Deadline | None) -> None:
        """Stores a new turn; `evaluated` are fields whose values the database works out.

        An upsert on a fresh _id, so that `$$NOW` can be used, and so that it can be sent again
        after a lost answer. Texts are `$literal`: in a pipeline `$x` would be a field's name.
        """
        document = turn_document(self.session, turn)
        fields = {name: {"$literal": value} for name, value in document.items()}
        fresh = {
            **self._documents.place(turn),
            "owner": {"$eq": turn.owner},
            "status": {"$eq": turn.status.value},
        }
        change = [{"$set": {**fields, **evaluated}}]
        documents = SessionDocuments(self.session, self._connection, deadline)
        try:
            in_sight = await documents.insert_in_sight(fresh, change, turn.sequence)
        except DuplicateKeyError as error:
            pattern = (error.details or {}).get("keyPattern", {})
            # Only an attempt of ours, which was given up, can have taken the fresh _id: it is in.
            if "_id" not in pattern:
                raise (RequestIdTaken if "request_id" in pattern else SequenceTaken) from error
            await self._check_not_buried(turn)
            return
        if not in_sight:
            await self._take_back(turn)

    async def _check_not_buried(self, *turns: Turn) -> None:
        """Takes the turns back that came to lie below a tombstone, and raises SequenceTaken.

        Not bound by the request's deadline: the turns are there by now.
        """
        documents = SessionDocuments(self.session, self._connection, deadline=None)
        floor = await documents.floor()
        if buried := [each for each in turns if each.sequence < floor]:
            await self._take_back(*buried)

    async def _take_back(self, *buried: Turn) -> None:
        """Removes turns that lie below a tombstone, and raises SequenceTaken."""
        for each in buried:
            place = self._documents.place(each)
            await self._connection.run(partial(self._turns.delete_one, place))
        raise SequenceTaken

    async def _finish(self, turn: Turn, ended: Turn, removed: Document) -> None:
        ours = {**self._documents.running(turn), "owner": {"$eq": turn.owner}}
        change = _update(ended, removed)
        try:
            outcome = await self._connection.run(lambda: self._turns.update_one(ours, change))
            if not outcome.matched_count:
                await self._explain_loss(turn, ended)
        finally:
            self._leases.release(object_id(turn))
        self._view.note(self.session, ended)

    async def _explain_loss(self, turn: Turn, ended: Turn) -> None:
        """Returns if the update had been made after all and only its answer was lost."""
        found = await self._connection.read(
            lambda: self._turns.find_one(self._documents.place(turn))
        )
        if found is None:
            raise SessionCleared("the session was cleared while the turn ran; nothing was kept")
        if (found["status"], found["owner"]) != (ended.status.value, turn.owner):
            raise TurnTakenOver("the turn's lease ran out and another server ended it")

    async def _list_if_first(self, turn: Turn) -> None:
        if turn.messages_before == 0:
            self._view.note(self.session, turn)
            await self._view.flush_session(self.session, self._deadline)


def _gives_up(turn: Turn) -> Document:
    """Frees the request_id for another try, and keeps it under another field."""
    removed: Document = {"$unset": {"lease_expires_at": "", "request_id": ""}}
    if turn.request_id:
        removed["$set"] = {"attempted_request_id": turn.request_id}
    return removed


def _update(ended: Turn, removed: Document) -> Document:
    return {**removed, "$set": {**removed.get("$set", {}), **ending_fields(ended)}}
