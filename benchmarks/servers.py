"""What is measured: Turnkeep, the stock servers, the floor; each as a table's line says."""

import importlib.util
from dataclasses import dataclass, field

WINDOW = 40
"""Turnkeep's default window, in messages."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server to measure. Kinds of one `family` share a database, so they read the same sessions.

    `processes`: so many servers, each on a port of its own, over one database. `alone`: whether it
    has a core to itself; else it may run on all cores, which it shares with everything else.
    `channels`: connections, over which the calls are spread: a server of several workers shares
    them out by connection. `traced`: whether spans of every call go to a collector.
    """

    module: str
    family: str
    about: str
    env: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    alone: bool = True
    channels: int = 1
    traced: bool = False


_TURNKEEP = "turnkeep_server"
# Stock writes no summaries; what they cost beside the turns is benchmarks.summaries.
_PLAIN = {"TURNKEEP_SUMMARY": "off", "TURNKEEP_LOG_FORMAT": "json"}
_TUNED = {"PEER_TUNED": "1"}

KINDS = {
    "turnkeep": Kind(_TURNKEEP, "turnkeep", "Turnkeep, its default window of 40 messages", _PLAIN),
    "turnkeep-20": Kind(
        _TURNKEEP,
        "turnkeep",
        "Turnkeep with a window of 20 messages",
        {**_PLAIN, "TURNKEEP_MAX_MESSAGES": "20"},
    ),
    "turnkeep-sdk": Kind(
        _TURNKEEP,
        "turnkeep",
        "Turnkeep that asks through OpenAI's SDK, as stock does",
        {**_PLAIN, "TURNKEEP_MODEL_CLIENT": "sdk"},
    ),
    "turnkeep-summaries": Kind(
        _TURNKEEP, "turnkeep", "Turnkeep that writes summaries", {"TURNKEEP_LOG_FORMAT": "json"}
    ),
    "turnkeep-telemetry": Kind(
        _TURNKEEP,
        "turnkeep",
        "Turnkeep with metrics, and spans of every call sent to a collector on the same machine",
        {**_PLAIN, "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0"},
        traced=True,
    ),
    "stock-aio": Kind("benchmarks.peers.stock_aio", "stock", "stock LangChain in grpc.aio"),
    "stock-threads": Kind(
        "benchmarks.peers.stock_threads", "stock", "stock LangChain in a server of 64 threads"
    ),
    "tuned-aio": Kind(
        "benchmarks.peers.stock_aio",
        "stock",
        "stock LangChain in grpc.aio, one MongoClient shared by all turns",
        _TUNED,
    ),
    "tuned-threads": Kind(
        "benchmarks.peers.stock_threads",
        "stock",
        "stock LangChain in a server of 64 threads, one MongoClient shared by all turns",
        _TUNED,
    ),
    "tuned-window": Kind(
        "benchmarks.peers.stock_aio",
        "stock",
        "stock LangChain in grpc.aio, one MongoClient, Turnkeep's window by history_size=40",
        {**_TUNED, "PEER_WINDOW": str(WINDOW)},
    ),
    "floor": Kind("benchmarks.peers.floor", "floor", "the bare parts, on asyncio's own loop"),
    "floor-uvloop": Kind(
        "benchmarks.peers.floor", "floor", "the bare parts on uvloop", {"PEER_UVLOOP": "1"}
    ),
    "one": Kind(
        _TURNKEEP, "turnkeep", "Turnkeep, one process on all cores", _PLAIN, alone=False, channels=8
    ),
    "two": Kind(
        _TURNKEEP,
        "turnkeep",
        "Turnkeep, two processes on two ports",
        _PLAIN,
        processes=2,
        alone=False,
        channels=4,
    ),
    "workers-2": Kind(
        _TURNKEEP,
        "turnkeep",
        "Turnkeep with TURNKEEP_WORKERS=2",
        {**_PLAIN, "TURNKEEP_WORKERS": "2"},
        alone=False,
        channels=16,
    ),
}


def why_not(name: str) -> str | None:
    """Why a kind cannot be measured here; None if it can."""
    if name == "floor-uvloop" and importlib.util.find_spec("uvloop") is None:
        return "uvloop is not installed"
    return None
