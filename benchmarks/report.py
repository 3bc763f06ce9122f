"""What a whole run comes to: a page, its figures as JSON, and the plot, kept as evidence."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cells import Cell
from benchmarks.memory import Grown, memory_table
from benchmarks.others import Told
from benchmarks.plot import Series, svg
from benchmarks.rows import Results
from benchmarks.tables import Verdict, cell_table, server_list, verdict_table

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence"
_LIBRARIES = (
    *("grpcio", "protobuf", "pymongo", "langchain-core", "langchain-openai", "langchain-mongodb"),
    *("openai", "aiohttp"),
)
_LENGTHS = (20, 100, 1_000, 5_000, 10_000)
_LINES = (
    ("floor", "the bare parts", "#6b7280", True),
    ("turnkeep", "Turnkeep", "#0f766e", False),
    ("tuned-window", "stock, tuned, window by hand", "#b45309", True),
    ("stock-threads", "stock, threads", "#dc2626", False),
    ("stock-aio", "stock, grpc.aio", "#f97316", False),
)
_PAGE = Path(__file__).with_name("page.md")


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    verdicts: Sequence[Verdict]
    results: Results
    grown: Sequence[Grown]
    told: Sequence[Told]
    slice_seconds: float

    @property
    def all_verdicts(self) -> list[Verdict]:
        """Of the rows, and of the benchmarks that stand by themselves."""
        return [*self.verdicts, *(each.verdict for each in self.told)]

    def write(self, folder: Path) -> None:
        """benchmark.md, benchmark.json and benchmark.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmark.md").write_text(self._page())
        figures = json.dumps(self._figures(), indent=1, ensure_ascii=False)
        (folder / "benchmark.json").write_text(figures + "\n")
        (folder / "benchmark.svg").write_text(plot(self.results))

    def _page(self) -> str:
        return _PAGE.read_text().format(
            rows=verdict_table(self.all_verdicts),
            machine=machine.described(),
            versions=", ".join(f"{name} {number}" for name, number in _versions().items()),
            slice_seconds=self.slice_seconds,
            servers=server_list(),
            cells=cell_table(self.results),
            memory=memory_table(self.grown),
            others="\n\n".join(f"```\n{each.output}\n```" for each in self.told),
        )

    def _figures(self) -> dict[str, Any]:
        return {
            "machine": machine.described(),
            "versions": _versions(),
            "rows": [asdict(each) for each in self.all_verdicts],
            "cells": {cell.name: each.figures() for cell, each in self.results.items()},
            "memory": [asdict(each) | {"kib_each": each.kib_each} for each in self.grown],
        }


def plot(results: Results) -> str:
    """Turns a second, not streamed, by the length of the session."""
    series = [
        Series(label, colour, _points(results, server), dashed=dashed, bold=server == "turnkeep")
        for server, label, colour, dashed in _LINES
    ]
    return svg(
        "Turns a second on one core, by how long the session is",
        "32 callers (stock's longest sessions: 4), a model that answers at once; axes logarithmic",
        series,
    )


def _points(results: Results, server: str) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for messages in _LENGTHS:
        # Four callers at a time are enough for stock's longest sessions: they fill its core.
        for cell in (Cell(server, messages), Cell(server, messages, 4)):
            if cell in results:
                found.append((messages, results[cell].calls_a_second))
                break
    return found


def _versions() -> dict[str, str]:
    python = f"{platform.python_implementation()} {sys.version.split()[0]}"
    return {"python": python, **{name: version(name) for name in _LIBRARIES}}
