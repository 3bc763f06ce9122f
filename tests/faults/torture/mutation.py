"""`python -m tests.faults.torture.mutation`: whether the suite catches each mutant; its table.

A mutant is caught when its section finds a promise broken. A section that cannot be run at all, as
when a mutant's target is gone, has caught nothing.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tests.faults.torture.mutants import MUTANTS, Mutant

EVIDENCE = Path("docs", "evidence", "mutants.md")
_BROKEN, _ENDED = "  BROKEN: ", "torture: "
_LONGEST_SECONDS = 300.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one mutant. `broken`: the suite's own lines, the most frequent kind first."""

    name: str
    mutant: Mutant
    broken: tuple[str, ...]
    seconds: float
    told: str
    """All that the run printed."""

    @property
    def caught(self) -> bool:
        """Whether the suite knew that something was wrong."""
        return bool(self.broken)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MUTANTS)))
@click.option("--jobs", default=2, show_default=True, help="How many at once.")
@click.option("--seed", default=1, show_default=True)
@click.option("--write", is_flag=True, help=f"Write {EVIDENCE} too, if all are caught.")
def main(*, names: tuple[str, ...], jobs: int, seed: int, write: bool) -> None:
    """Runs the suite on wrong versions of the service. Exits 1 when one is not caught."""
    began = time.monotonic()
    found = asyncio.run(_all(names or tuple(MUTANTS), jobs, seed))
    survived = [each for each in found if not each.caught]
    click.echo("\n".join(_table(found)))
    click.echo(
        f"mutants: {len(found) - len(survived)} caught, {len(survived)} survived, "
        f"{time.monotonic() - began:.0f} s"
    )
    for each in survived:
        click.echo(f"--- {each.name} survived:\n{each.told}", err=True)
    if write and not survived and not names:
        EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
        EVIDENCE.write_text("\n".join(_page(found)) + "\n")
    sys.exit(1 if survived else 0)


async def _all(names: Sequence[str], jobs: int, seed: int) -> list[Found]:
    room = asyncio.Semaphore(jobs)

    async def one(name: str) -> Found:
        async with room:
            return await _tried(name, seed)

    return await asyncio.gather(*(one(each) for each in names))


async def _tried(name: str, seed: int) -> Found:
    mutant = MUTANTS[name]
    argv = [sys.executable, "-m", "tests.faults.torture", "--quick", "--seed", str(seed)]
    argv += ["--only", mutant.section, "--mutant", name]
    began = time.monotonic()
    suite = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            output, _ = await suite.communicate()
    except TimeoutError:
        suite.kill()
        output, _ = await suite.communicate()
    told = output.decode(errors="replace")
    lines = told.splitlines()
    # Only a run that came to its end has found anything: one that broke off tells nothing.
    whole = any(each.startswith(_ENDED) for each in lines)
    broken = [each.removeprefix(_BROKEN) for each in lines if each.startswith(_BROKEN)]
    seconds = time.monotonic() - began
    found = Found(name, mutant, tuple(broken) if whole else (), seconds, told)
    verdict = "caught" if found.caught else "SURVIVED" if whole else "NOT TRIED"
    click.echo(f"{verdict:9} {seconds:4.0f} s  {name}: {'; '.join(broken[:_SHOWN])}")
    return found


def _table(found: Sequence[Found]) -> list[str]:
    lines = [
        "| mutant | what is wrong with it | caught by | what broke | seconds |",
        "|---" * 5 + "|",
    ]
    for each in found:
        more = len(each.broken) - _SHOWN
        broken = "; ".join(each.broken[:_SHOWN]) + (f"; {more} kinds more" if more > 0 else "")
        caught_by = each.mutant.section if each.caught else "**nothing**"
        lines.append(
            f"| {each.name} | {each.mutant.wrong} | {caught_by} | {broken} | {each.seconds:.0f} |"
        )
    return lines


def _page(found: Sequence[Found]) -> list[str]:
    return [
        "# Wrong versions of the service, and what catches them",
        "",
        "Written by `make mutants`. Each mutant is a small change to the running service's code",
        "(`tests/faults/torture/mutants.py`); a section of the torture suite, in its quick size,",
        "must find a promise broken. `make mutants` fails when one survives.",
        "",
        f"{os.cpu_count()} cores; two sections at a time.",
        "",
        *_table(found),
    ]


if __name__ == "__main__":
    main()
