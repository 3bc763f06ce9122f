"""The clients that LangChain's two kinds of methods run on: invoke on one, ainvoke on the other."""

import turnkeep
import turnkeep.sync


class Clients:
    """One client or both, as the program made them; closing them is left to it.

    Raises TypeError if there is none, or if one is in the other's place.
    """

    def __init__(
        self,
        client: turnkeep.sync.ConversationClient | None,
        async_client: turnkeep.ConversationClient | None,
    ) -> None:
        if isinstance(client, turnkeep.ConversationClient):
            raise TypeError("client is a turnkeep.sync.ConversationClient; pass this async_client=")
        if isinstance(async_client, turnkeep.sync.ConversationClient):
            raise TypeError("async_client is a turnkeep.ConversationClient; pass this client=")
        if client is None and async_client is None:
            raise TypeError(
                "pass client=turnkeep.sync.ConversationClient(…), "
                "async_client=turnkeep.ConversationClient(…), or both"
            )
        self._client, self.asynchronous = client, async_client

    @property
    def blocking(self) -> turnkeep.sync.ConversationClient:
        """The synchronous client. Raises RuntimeError where only the asynchronous one was given."""
        if self._client is None:
            raise RuntimeError(
                "only async_client was given: await the asynchronous method (ainvoke, astream, "
                "aget_messages, …), or pass client=turnkeep.sync.ConversationClient(…) too"
            )
        return self._client
