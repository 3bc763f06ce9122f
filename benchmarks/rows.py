"""The rows of the table: what is compared with what, and what it must come to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.cells import MODEL, Cell, Measured

Results = Mapping[Cell, Measured]

STOCKS = ("stock-aio", "stock-threads")
TUNED = ("tuned-aio", "tuned-threads")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio must be at least, or at most."""

    limit: float
    at_least: bool

    def holds(self, value: float) -> bool:
        """Whether a ratio is within it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}×"


@dataclass(frozen=True, slots=True)
class Row:
    """A ratio between cells; `bound` is None where there is a figure and no promise."""

    name: str
    what: str
    cells: tuple[Cell, ...]
    ratio: Callable[[Results], float]
    bound: Bound | None = None


def _at_least(limit: float) -> Bound:
    return Bound(limit, at_least=True)


def _at_most(limit: float) -> Bound:
    return Bound(limit, at_least=False)


def _faster(
    name: str, ours: Cell, others: tuple[str, ...], what: str, bound: Bound | None = None
) -> Row:
    """Calls a second of a cell against the best of others under the same load."""
    against = [Cell(each, *ours.load) for each in others]

    def ratio(results: Results) -> float:
        best = max(results[each].calls_a_second for each in against)
        return results[ours].calls_a_second / best

    return Row(name, what, (ours, *against), ratio, bound)


def _stock(
    messages: int,
    *,
    concurrency: int = 32,
    rpc: str = "chat",
    name: str = "",
    bound: Bound | None = None,
) -> Row:
    what = "turns/s, streamed," if rpc == "stream" else "turns/s"
    return _faster(
        name or f"stock-{messages}",
        Cell("turnkeep", messages, concurrency, rpc),
        STOCKS,
        f"{what} against the better stock, {messages:,} messages, {concurrency} at a time",
        bound,
    )


def _cost(name: str, ours: Cell, other: Cell, what: str, bound: Bound | None = None) -> Row:
    """CPU time a call of a cell against another's."""
    return Row(
        name,
        f"CPU a turn {what}",
        (ours, other),
        lambda results: results[ours].cpu_ms / results[other].cpu_ms,
        bound,
    )


def _first_token(name: str, ours: str, other: str, what: str, bound: Bound | None = None) -> Row:
    """What a server adds to the model's own first token, against what another adds."""
    model, mine, theirs = (Cell(each, 20, 1, "stream", 20) for each in (MODEL, ours, other))

    def ratio(results: Results) -> float:
        own = results[model].first_token_ms
        return (results[mine].first_token_ms - own) / (results[theirs].first_token_ms - own)

    return Row(name, what, (mine, theirs, model), ratio, bound)


_SHORT = Cell("turnkeep", 20)

ROWS = [
    _stock(10),
    _stock(20, bound=_at_least(5)),
    _stock(100),
    _stock(1_000, bound=_at_least(40)),
    _stock(5_000, bound=_at_least(150)),
    _stock(10_000, concurrency=4),
    _stock(20, concurrency=1, name="stock-20-alone"),
    _stock(20, concurrency=256, name="stock-20-crowd"),
    _stock(20, rpc="stream", name="stock-20-streamed"),
    _stock(1_000, rpc="stream", name="stock-1000-streamed"),
    # What of it is the chain and the history, and what the way to the model.
    *(
        _faster(
            f"sdk-{messages}",
            Cell("turnkeep-sdk", messages),
            STOCKS,
            "turns/s with OpenAI's SDK in Turnkeep, too, against the better stock, "
            f"{messages:,} messages, 32 at a time",
        )
        for messages in (20, 1_000)
    ),
    *(
        _faster(
            f"tuned-{messages}",
            Cell("turnkeep", messages),
            TUNED,
            f"turns/s against the better tuned stock, {messages:,} messages, 32 at a time",
        )
        for messages in (20, 1_000, 5_000)
    ),
    *(
        _faster(
            f"window-{messages}",
            Cell("turnkeep", messages),
            ("tuned-window",),
            "turns/s against tuned stock that is given a window of 40 messages by hand, "
            f"{messages:,} messages",
        )
        for messages in (20, 100, 1_000, 5_000, 10_000)
    ),
    _cost("floor-20", _SHORT, Cell("floor", 20), "against the floor, 20 messages", _at_most(2.0)),
    *(
        _cost(
            f"floor-{messages}",
            Cell("turnkeep", messages),
            Cell("floor", messages),
            f"against the floor, {messages:,} messages",
        )
        for messages in (100, 1_000, 5_000, 10_000)
    ),
    _cost(
        "floor-20-streamed",
        Cell("turnkeep", 20, 32, "stream"),
        Cell("floor", 20, 32, "stream"),
        "against the floor, 20 messages, streamed",
    ),
    _cost(
        "floor-20-uvloop", _SHORT, Cell("floor-uvloop"), "against the floor on uvloop, 20 messages"
    ),
    _cost(
        "length",
        Cell("turnkeep-20", 10_000),
        Cell("turnkeep-20", 20),
        "in a 10,000-message session against a 20-message one, a window of 20 messages in both",
        _at_most(1.10),
    ),
    # With the default window the long session sends 40 messages and the short one the 20 it has:
    # that costs the floor more, too.
    *(
        _cost(
            f"length-and-window{suffix}",
            Cell(server, 10_000),
            Cell(server, 20),
            f"of {name} in a 10,000-message session, which sends 40 messages, against a 20-message "
            "one, which has 20 to send",
        )
        for server, suffix, name in (("turnkeep", "", "Turnkeep"), ("floor", "-floor", "the floor"))
    ),
    _cost(
        "summaries",
        Cell("turnkeep-summaries", 1_000),
        Cell("turnkeep", 1_000),
        "with summaries written behind the turns against without, 1,000 messages",
    ),
    _first_token(
        "first-token",
        "turnkeep",
        "floor",
        "what is added to the model's own first token, against what the floor adds",
        _at_most(2.0),
    ),
    _first_token(
        "first-token-stock",
        "turnkeep",
        "stock-aio",
        "what is added to the model's own first token, against what stock in grpc.aio adds",
    ),
    *(
        _faster(
            name,
            Cell(name, 20, 64),
            ("one",),
            f"turns/s of {what} against one process, all on the same cores, 20 messages",
        )
        for name, what in (
            ("two", "two processes on two ports"),
            ("workers-2", "TURNKEEP_WORKERS=2 on one port"),
        )
    ),
    _faster(
        "add",
        Cell("turnkeep", 20, 32, "add"),
        STOCKS,
        "AddMessages/s against the better stock, a message each",
    ),
    *(
        _faster(
            f"list-{messages}",
            Cell("turnkeep", messages, 32, "list"),
            STOCKS,
            f"ListMessages/s against the better stock, the newest 50 of {messages:,} messages",
        )
        for messages in (20, 1_000)
    ),
]

QUICK_ROWS = ("stock-20", "floor-20", "floor-20-streamed", "first-token", "list-20")
"""Enough to run every kind of row, server and RPC once, nearly."""
