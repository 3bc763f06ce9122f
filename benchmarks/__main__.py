"""Every benchmark, one after another; `make bench`.

    .venv/bin/python -m benchmarks            some ten minutes; writes docs/evidence/benchmark.*
    .venv/bin/python -m benchmarks --quick    a minute, to see that they run; writes to build/

Exits with 1 if a row misses its bound. --quick judges none: its slices are too short.
"""

# ruff: noqa: T201 - a benchmark talks

import argparse
import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import matrix, memory, others
from benchmarks.report import EVIDENCE, Report
from benchmarks.rows import QUICK_ROWS, ROWS
from benchmarks.tables import judged, verdict_table

QUICK_OTHERS = ("context",)
QUICK_FOLDER = Path("build", "benchmark")


async def main() -> int:
    """Exit code 0 if every row is within its bound."""
    parser = argparse.ArgumentParser(description="every benchmark, one after another")
    parser.add_argument("--quick", action="store_true")
    quick: bool = parser.parse_args().quick
    began = time.monotonic()
    folder = QUICK_FOLDER if quick else EVIDENCE
    # What was measured is kept, should what comes after it fail.
    report = await _measured(quick=quick)
    report.write(folder)
    report = await _with_the_rest(report, quick=quick)
    report.write(folder)
    print(verdict_table(report.all_verdicts))
    page = os.path.relpath(folder / "benchmark.md")
    print(f"\nin {time.monotonic() - began:.0f} s; the whole report is in {page}")
    missed = [each.name for each in report.all_verdicts if each.within is False]
    if missed and not quick:
        print(f"missed: {', '.join(missed)}")
        return 1
    return 0


async def _measured(*, quick: bool) -> Report:
    rows = [row for row in ROWS if not quick or row.name in QUICK_ROWS]
    results = await matrix.run(matrix.cells_of(rows), quick=quick)
    seconds = matrix.QUICK_SLICE_SECONDS if quick else matrix.SLICE_SECONDS
    return Report([judged(row, results) for row in rows], results, (), (), seconds)


async def _with_the_rest(report: Report, *, quick: bool) -> Report:
    told = [await others.run(name) for name in (QUICK_OTHERS if quick else others.OTHERS)]
    grown = await memory.measured(["streams"] if quick else ["streams", "sessions"], quick=quick)
    return replace(report, grown=grown, told=told)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
