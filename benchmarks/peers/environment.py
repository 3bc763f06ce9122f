"""What configures a peer: the variables that configure turnkeep-server, as far as it knows them."""

import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Environment:
    """Where to listen, where histories live, which model.

    The model's provider is taken from OPENAI_BASE_URL and OPENAI_API_KEY, which its library reads.
    """

    listen: str
    history_url: str
    model: str
    window: int | None
    """Messages of the history that stock sends to the model at most; None, its default, is all."""
    tuned: bool
    """Whether stock shares one MongoClient, and asks for its index once, not at each turn."""

    @classmethod
    def read(cls) -> Self:
        """From the environment, with the defaults of turnkeep-server."""
        window = os.environ.get("PEER_WINDOW")
        return cls(
            listen=os.environ.get("TURNKEEP_LISTEN", "127.0.0.1:50051"),
            history_url=os.environ["TURNKEEP_HISTORY_URL"],
            model=os.environ.get("TURNKEEP_MODEL", "gpt-4o-mini"),
            window=int(window) if window else None,
            tuned=os.environ.get("PEER_TUNED") == "1",
        )

    def address(self, port: int) -> str:
        """host:port, the port being the one that was bound."""
        return f"{self.listen.rpartition(':')[0]}:{port}"
