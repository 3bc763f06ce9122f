"""The indexes: what makes an order an order, and every read a bounded one."""

from pymongo import ASCENDING, DESCENDING, IndexModel

from turnkeep_server.turns import TurnStatus

BY_REQUEST, BY_STATUS, BY_LEASE = "session_request", "session_status", "running"
BY_SUMMARY = "session_summary"
"""Indexes to name in a hint: the planner would weigh them against `session_sequence` each time."""
STATUSES_INDEXED = frozenset({TurnStatus.COMPLETED.value, TurnStatus.CLEARED.value})

_SESSION = [("tenant", ASCENDING), ("user_id", ASCENDING), ("session_id", ASCENDING)]
TURN_INDEXES = [
    # Concurrency control: two writers cannot take the same place.
    IndexModel([*_SESSION, ("sequence", ASCENDING)], name="session_sequence", unique=True),
    # Idempotency: one turn a request.
    IndexModel(
        [*_SESSION, ("request_id", ASCENDING)],
        name=BY_REQUEST,
        unique=True,
        partialFilterExpression={"request_id": {"$exists": True}},
    ),
    # Finds completed turns past any number of failed ones, and tombstones past any of turns.
    IndexModel(
        [*_SESSION, ("status", ASCENDING), ("sequence", ASCENDING)],
        name=BY_STATUS,
        partialFilterExpression={"status": {"$in": sorted(STATUSES_INDEXED)}},
    ),
    # Finds the newest summary, or the tombstone above it, however far back.
    IndexModel(
        [*_SESSION, ("sequence", DESCENDING)],
        name=BY_SUMMARY,
        partialFilterExpression={"summary": {"$exists": True}},
    ),
    # As many entries as turns are running: finds those whose server died.
    IndexModel(
        [("lease_expires_at", ASCENDING)],
        name=BY_LEASE,
        partialFilterExpression={"status": TurnStatus.RUNNING.value},
    ),
]
SESSION_INDEXES = [
    IndexModel(_SESSION, name="session", unique=True),
    IndexModel(
        [
            ("tenant", ASCENDING),
            ("user_id", ASCENDING),
            ("listed", ASCENDING),
            ("updated_at", DESCENDING),
            ("session_id", ASCENDING),
        ],
        name="newest_activity",
    ),
]
# A month and a few days: enough to look up what a tenant used, and nothing grows for ever.
_DAYS_KEPT = 40
TENANT_DAY_INDEXES = [
    IndexModel([("day", ASCENDING)], name="over", expireAfterSeconds=_DAYS_KEPT * 86_400)
]
