"""Running cells: those under the same load in turns, so that the machine's moods strike all."""

# ruff: noqa: T201 - a benchmark talks

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from benchmarks.cells import Cell, Measured, measure, prepare
from benchmarks.rows import ROWS, Row
from benchmarks.servers import why_not
from benchmarks.stage import Stage

ROUNDS, SLICE_SECONDS = 3, 1.5
QUICK_SLICE_SECONDS = 0.5
# A slice takes at least one call a caller: 32 that take two seconds each of one core are enough.
_ENOUGH_SECONDS = 8.0


def cells_of(rows: Iterable[Row]) -> list[Cell]:
    """The cells that rows need and that can be measured here, each once, by their load."""
    wanted = dict.fromkeys(cell for row in rows if unmeasured(row) is None for cell in row.cells)
    order = list(dict.fromkeys(cell.load for cell in wanted))
    return sorted(wanted, key=lambda cell: order.index(cell.load))


def unmeasured(row: Row) -> str | None:
    """Why a row cannot be measured here; None if it can."""
    return next((why for cell in row.cells if (why := why_not(cell.server))), None)


async def run(cells: Sequence[Cell], *, quick: bool = False) -> dict[Cell, Measured]:
    """Measures the cells, and says on stderr how far it is."""
    results = {cell: Measured() for cell in cells}
    rounds, seconds = (1, QUICK_SLICE_SECONDS) if quick else (ROUNDS, SLICE_SECONDS)
    async with Stage() as stage:
        for _, group in groupby(cells, key=lambda cell: cell.load):
            compared = list(group)
            # All of them before any is measured: making sessions keeps the database busy.
            for cell in compared:
                await prepare(stage, cell)
            for _ in range(rounds):
                for cell in compared:
                    if results[cell].seconds < _ENOUGH_SECONDS:
                        await measure(stage, cell, results[cell], seconds)
            for cell in compared:
                _tell(cell, results[cell])
    return results


def _tell(cell: Cell, measured: Measured) -> None:
    print(
        f"{cell.name:28} {measured.calls_a_second:8.1f} a second, "
        f"{measured.cpu_ms:8.2f} ms CPU each",
        file=sys.stderr,
        flush=True,
    )


def row_named(name: str) -> Row:
    """A row by its name. KeyError if there is none."""
    return {row.name: row for row in ROWS}[name]
