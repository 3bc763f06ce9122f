"""Which primary was elected last, as the driver's heartbeats tell; at once, not once a second."""

from collections.abc import Callable
from typing import Any

from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)


class Elections(ServerHeartbeatListener):
    """Tells of every election after the first one seen. Standalone servers and mongos hold none.

    Heartbeats of the driver's own loop; a primary that woke up and does not know that another was
    elected meanwhile has an older election_id, and is not heard.
    """

    def __init__(self) -> None:
        self.latest: Any = None
        """The newest primary's election_id; known before the driver sends anything to it."""
        self._tell: Callable[[], None] = lambda: None

    def tell(self, whom: Callable[[], None]) -> None:
        """Has `whom` called, on the event loop, whenever another primary has been elected."""
        self._tell = whom

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        pass

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        said = event.reply.document
        # A connection's first answer comes in MongoDB's older words.
        is_primary = said.get("isWritablePrimary") or said.get("ismaster")
        election = said.get("electionId") if is_primary else None
        if election is None or (self.latest is not None and election <= self.latest):
            return
        is_first, self.latest = self.latest is None, election
        if not is_first:
            self._tell()

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        pass
