"""What was measured as tables, in Markdown: readable in a terminal, and kept as evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cells import Cell, Measured
from benchmarks.matrix import unmeasured
from benchmarks.rows import Results, Row
from benchmarks.servers import KINDS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row's figure, and whether it is what was promised; `within` is None where nothing was."""

    name: str
    what: str
    figure: str
    promised: str
    within: bool | None
    command: str

    @property
    def word(self) -> str:
        """How it is told."""
        return {True: "met", False: "MISSED", None: ""}[self.within]


def judged(row: Row, results: Results) -> Verdict:
    """A row's figure and verdict. One whose calls failed is missed, whatever its figure.

    Also where another's did: what answers a part of its calls is no measure of speed.
    """
    command = f"python -m benchmarks.turns --row {row.name}"
    promised = str(row.bound or "")
    if why := unmeasured(row):
        return Verdict(row.name, row.what, f"not measured: {why}", promised, None, command)
    value = row.ratio(results)
    failed = any(results[cell].failed for cell in row.cells)
    within = row.bound.holds(value) and not failed if row.bound else None
    return Verdict(row.name, row.what, f"{value:.3g}×", promised, within, command)


def verdict_table(verdicts: Iterable[Verdict]) -> str:
    """The rows with their figures, bounds and commands."""
    return table(
        ("row", "what", "figure", "promised", "", "again with"),
        [
            (each.name, each.what, each.figure, each.promised, each.word, f"`{each.command}`")
            for each in verdicts
        ],
    )


_COLUMNS = {
    "calls_a_second": "calls/s",
    "cpu_ms": "CPU ms a call",
    "database_cpu_ms": "database CPU ms",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "first_token_ms": "first token ms",
    "peak_mib": "peak MiB",
    "after_mib": "MiB after",
    "calls": "calls",
    "failed": "failed",
}


def cell_table(results: Mapping[Cell, Measured]) -> str:
    """Every cell with all that was measured of it."""
    lines = []
    for cell, measured in results.items():
        figures = measured.figures()
        said = [cell.server, f"{cell.messages:,}", cell.concurrency, cell.rpc]
        said[3] = f"{cell.rpc}, model {cell.delay_ms} ms" if cell.delay_ms else cell.rpc
        told = [figures.get(name, "") for name in _COLUMNS]
        again = f"`python -m benchmarks.turns --cell {cell.name}`"
        lines.append([*map(str, said), *map(str, told), again])
    heads = ("server", "messages", "at a time", "RPC", *_COLUMNS.values(), "again with")
    return table(heads, lines)


def server_list() -> str:
    """What the names of the servers mean."""
    return "\n".join(f"- **{name}**: {kind.about}" for name, kind in KINDS.items())


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
