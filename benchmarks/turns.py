"""Turns, streamed turns, AddMessages and ListMessages: Turnkeep, stock LangChain and the floor.

    .venv/bin/python -m benchmarks.turns                    every row
    .venv/bin/python -m benchmarks.turns --row stock-1000   one row; may be given again
    .venv/bin/python -m benchmarks.turns --cell turnkeep/20/32/chat
    .venv/bin/python -m benchmarks.turns --quick            a minute, to see that it runs

A cell is SERVER/MESSAGES/CALLERS/RPC. Exits with 1 if a row misses its bound (--quick judges none).
"""

# ruff: noqa: T201 - a benchmark talks

import argparse
import asyncio
import sys

from benchmarks.cells import Cell
from benchmarks.matrix import cells_of, row_named, run
from benchmarks.rows import QUICK_ROWS, ROWS
from benchmarks.tables import cell_table, judged, verdict_table


def main() -> int:
    """Exit code 0 if every row that was asked for is within its bound."""
    asked = _arguments()
    names = asked.row or (QUICK_ROWS if asked.quick else [row.name for row in ROWS])
    rows = [] if asked.cell else [row_named(name) for name in names]
    cells = [Cell.named(name) for name in asked.cell or ()] or cells_of(rows)
    results = asyncio.run(run(cells, quick=asked.quick))
    verdicts = [judged(row, results) for row in rows]
    if verdicts:
        print(verdict_table(verdicts), end="\n\n")
    print(cell_table(results))
    return 1 if not asked.quick and any(each.within is False for each in verdicts) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turnkeep against stock LangChain and the floor")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--cell", action="append", metavar="SERVER/MESSAGES/CALLERS/RPC")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
