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
        self._latest: Any = None
        self._tell: Callable[[], None] = lambda: None

    def tell(self, whom: Callable[[], None]) -> None:
        """Has `whom` called, on the event loop, whenever another primary has been elected."""
        self._tell = whom

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        pass

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        said = event.reply.document
        election = said.get("electionId") if said.get("isWritablePrimary") else None
        if election is None or (self._latest is not None and election <= self._latest):
            return
        is_first, self._latest = self._latest is None, election
        if not is_first:
            self._tell()

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        pass
