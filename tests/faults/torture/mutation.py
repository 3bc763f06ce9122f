"""`python -m tests.faults.torture.mutation`: whether the suite catches each mutant; its table.

A mutant is caught when its section finds a promise broken. A section that cannot be run at all, as
when a mutant's target is gone, has caught nothing. Each section is also run on the service as it
is, and must find nothing: what cries at everything catches nothing.
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
from tests.faults.torture.running import SECTION_FAILED

EVIDENCE = Path("docs", "evidence", "mutants.md")
_BROKEN, _ENDED = "  BROKEN: ", "torture: "
_LONGEST_SECONDS = 300.0
_SHOWN = 3
_FAILED_CALLS = "calls failed"


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one mutant. `broken`: the suite's own lines, the most frequent kind first."""

    name: str
    mutant: Mutant | None
    """None: the service as it is."""
    section: str
    whole: bool
    """Whether the run came to its end: one that broke off, or its section, tells nothing."""
    broken: tuple[str, ...]
    seconds: float
    told: str
    """All that the run printed."""

    @property
    def well(self) -> bool:
        """Whether a mutant was caught; whether nothing was found in the service as it is."""
        return self.tried and bool(self.counting) == bool(self.mutant)

    @property
    def tried(self) -> bool:
        """Whether the run tells anything. A section may end by what a mutant is caught by."""
        return self.whole or bool(self.mutant and self.mutant.by and self.counting)

    @property
    def counting(self) -> tuple[str, ...]:
        """Of what broke, that which shows a mutant."""
        if self.mutant is None:
            return self.broken
        kinds = self.mutant.by
        return tuple(
            each
            for each in self.broken
            if (any(kind in each for kind in kinds) if kinds else _FAILED_CALLS not in each)
        )

    @property
    def verdict(self) -> str:
        """In one word, or two."""
        if not self.tried:
            return "NOT TRIED"
        if self.mutant is None:
            return "clean" if self.well else "NOT CLEAN"
        return "caught" if self.well else "SURVIVED"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MUTANTS)))
@click.option("--jobs", default=2, show_default=True, help="How many at once.")
@click.option("--seed", default=1, show_default=True)
@click.option("--write", is_flag=True, help=f"Write {EVIDENCE} too, if all are caught.")
def main(*, names: tuple[str, ...], jobs: int, seed: int, write: bool) -> None:
    """Runs the suite on wrong versions of the service. Exits 1 when one is not caught."""
    began = time.monotonic()
    found = asyncio.run(_all(names or tuple(MUTANTS), jobs, seed))
    wrong = [each for each in found if not each.well]
    click.echo("\n".join(_table(found)))
    mutants = sum(each.mutant is not None for each in found)
    survived = sum(each.mutant is not None for each in wrong)
    click.echo(
        f"mutants: {mutants - survived} caught, {survived} survived, "
        f"{time.monotonic() - began:.0f} s"
    )
    for each in wrong:
        click.echo(f"--- {each.name}: {each.verdict}\n{each.told}", err=True)
    if write and not wrong and not names:
        EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
        EVIDENCE.write_text("\n".join(_page(found)) + "\n")
    sys.exit(1 if wrong else 0)


async def _all(names: Sequence[str], jobs: int, seed: int) -> list[Found]:
    room = asyncio.Semaphore(jobs)

    async def one(name: str, section: str = "") -> Found:
        async with room:
            return await _tried(name, section or MUTANTS[name].section, seed)

    sections = dict.fromkeys(MUTANTS[each].section for each in names)
    return await asyncio.gather(
        *(one("", each) for each in sections), *(one(each) for each in names)
    )


async def _tried(name: str, section: str, seed: int) -> Found:
    argv = [sys.executable, "-m", "tests.faults.torture", "--quick", "--seed", str(seed)]
    argv += ["--only", section, "--mutant", name]
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
    seconds = time.monotonic() - began
    found = found_in(told, name, section, seconds)
    click.echo(f"{found.verdict:9} {seconds:4.0f} s  {found.name}, {section}: {_told(found)}")
    return found


def found_in(told: str, name: str, section: str, seconds: float) -> Found:
    """What a run of the suite on this mutant, "" for none, says in what it printed."""
    lines = told.splitlines()
    ended = any(each.startswith(_ENDED) for each in lines)
    whole = ended and not any(SECTION_FAILED in each for each in lines)
    broken = tuple(each.removeprefix(_BROKEN) for each in lines if each.startswith(_BROKEN))
    return Found(name or "(none)", MUTANTS.get(name), section, whole, broken, seconds, told)


def _told(found: Found) -> str:
    """What broke, the kinds that count first."""
    kinds = [*found.counting, *(each for each in found.broken if each not in found.counting)]
    more = len(kinds) - _SHOWN
    return "; ".join(kinds[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _table(found: Sequence[Found]) -> list[str]:
    lines = ["| mutant | what is wrong with it | section | | what broke | seconds |"]
    lines.append("|---" * 6 + "|")
    for each in found:
        wrong = each.mutant.wrong if each.mutant else "nothing: the service as it is"
        cells = (each.name, wrong, each.section, each.verdict, _told(each), f"{each.seconds:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _page(found: Sequence[Found]) -> list[str]:
    return [
        "# Wrong versions of the service, and what catches them",
        "",
        "Written by `make mutants`. Each mutant is a small change to the running service's code",
        "(`tests/faults/torture/mutants.py`); a section of the torture suite, in its quick size,",
        "must find a promise broken, and nothing in the service as it is. `make mutants` fails",
        "when a mutant survives.",
        "",
        f"{os.cpu_count()} cores; two sections at a time.",
        "",
        *_table(found),
    ]


if __name__ == "__main__":
    main()
