"""A session's summaries: each on the turn that it goes through, gone with it."""

from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import Document, summary_fields, summary_of
from turnkeep_server.history.mongodb_indexes import BY_STATUS, BY_SUMMARY
from turnkeep_server.history.mongodb_session import SessionDocuments
from turnkeep_server.turns import Summary, TurnStatus

_COMPLETED: Document = {"status": {"$eq": TurnStatus.COMPLETED.value}}


class SummaryDocuments:
    """Reads, claims and writes the summaries of one session, for one request."""

    def __init__(self, documents: SessionDocuments, connection: MongoDBConnection) -> None:
        self._documents = documents
        self._connection = connection

    async def newest(self) -> Summary | None:
        """The newest summary above the newest tombstone."""
        with_summary = {"summary": {"$exists": True}}
        fields = {"sequence": 1, "summary": 1}
        found = await self._documents.read(with_summary, limit=1, fields=fields, hint=BY_SUMMARY)
        return summary_of(found[0]) if found else None

    async def claim(self, after: Summary | None, seconds: float) -> bool:
        """Takes the right to write the summary behind `after`, by the database's clock.

        The claim lies on the turn of the summary before, or on the session's first turn: all
        processes find the same one, and a clear removes it with the turns.
        """
        bearer = await self._bearer(after)
        if bearer is None:
            return False
        # What is missing comes before every date.
        free = {
            "_id": {"$eq": bearer["_id"]},
            **self._documents.at(bearer["sequence"]),
            "$expr": {"$lt": ["$summary_claimed_until", "$$NOW"]},
        }
        until = {"$add": ["$$NOW", int(seconds * 1000)]}
        claim = [{"$set": {"summary_claimed_until": until}}]
        outcome = await self._documents.run(lambda: self._connection.turns.update_one(free, claim))
        return bool(outcome.matched_count)

    async def write(self, summary: Summary) -> bool:
        """Adds the summary to its turn; False if that is gone."""
        turn = {**self._documents.at(summary.through_sequence), **_COMPLETED}
        change = {"$set": summary_fields(summary)}
        outcome = await self._documents.run(lambda: self._connection.turns.update_one(turn, change))
        return bool(outcome.matched_count)

    async def _bearer(self, after: Summary | None) -> Document | None:
        fields = {"sequence": 1}
        if after:
            wanted = {"sequence": {"$eq": after.through_sequence}, **_COMPLETED}
            found = await self._documents.read(wanted, limit=1, fields=fields)
        else:
            floor = await self._documents.floor()
            found = await self._documents.read(
                {**_COMPLETED, "sequence": {"$gt": floor}},
                limit=1,
                newest_first=False,
                fields=fields,
                hint=BY_STATUS,
            )
        return found[0] if found else None
