"""CPU a turn with metrics and every call traced to a collector, against neither.

    .venv/bin/python -m benchmarks.telemetry

Two processes of the very same service differ by up to a tenth, for as long as they run: in each
round both servers are started anew, and called in turns, unary and streamed. Prints the ratio of
the CPU of all rounds, with the standard error of the rounds' own ratios, and exits with 1 if either
is over 1.10.
"""

# ruff: noqa: T201 - a benchmark talks

import asyncio
import statistics
import sys

from benchmarks.cells import Cell, Measured, measure, prepare
from benchmarks.stage import Stage

ROUNDS, SLICE_SECONDS = 14, 0.8
HIGHEST_RATIO = 1.10
_ON, _OFF = "turnkeep-telemetry", "turnkeep"


async def main() -> int:
    """Exit code 0 if both ratios are within their bound."""
    rpcs = ("chat", "stream")
    pairs: dict[str, list[tuple[Measured, Measured]]] = {rpc: [] for rpc in rpcs}
    async with Stage() as stage:
        for _ in range(ROUNDS):
            await stage.stop(_ON)
            await stage.stop(_OFF)
            for rpc in rpcs:
                pairs[rpc].append(await _pair(stage, Cell(_ON, rpc=rpc), Cell(_OFF, rpc=rpc)))
    ratios = [_told(rpc, pairs[rpc]) for rpc in rpcs]
    figures = " and ".join(f"{each:.2f}" for each in ratios)
    print(f"ratio, unary and streamed: {figures} (at most {HIGHEST_RATIO:.2f})")
    return 0 if max(ratios) <= HIGHEST_RATIO else 1


async def _pair(stage: Stage, on: Cell, off: Cell) -> tuple[Measured, Measured]:
    """What two servers came to; in an order that evens out a machine that gets slower."""
    measured = {on: Measured(), off: Measured()}
    for cell in measured:
        await prepare(stage, cell)
    for cell in (on, off, off, on):
        await measure(stage, cell, measured[cell], SLICE_SECONDS)
    return measured[on], measured[off]


def _told(rpc: str, pairs: list[tuple[Measured, Measured]]) -> float:
    on, off = ([pair[n] for pair in pairs] for n in (0, 1))
    ratio = _cpu_ms(on) / _cpu_ms(off)
    error = statistics.stdev(a.cpu_ms / b.cpu_ms for a, b in pairs) / len(pairs) ** 0.5
    print(
        f"telemetry {rpc:6}: {_cpu_ms(on):.2f} ms a turn against {_cpu_ms(off):.2f}, "
        f"ratio {ratio:.3f} ± {error:.3f} over {len(pairs)} pairs of servers, "
        f"{sum(each.calls for each in on + off)} turns"
    )
    return ratio


def _cpu_ms(servers: list[Measured]) -> float:
    return sum(each.cpu_seconds for each in servers) / sum(each.calls for each in servers) * 1e3


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
