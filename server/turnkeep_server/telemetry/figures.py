"""How a server does at one moment, for whoever asks."""

from dataclasses import dataclass

from turnkeep_server.history.contract import StoreFigures


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What is read, not counted. `history_up`: whether the store answered when last asked."""

    calls_running: int
    draining: bool
    history_up: bool
    store: StoreFigures
