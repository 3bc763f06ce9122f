"""`python -m tests.faults.torture`: runs the sections one after another and writes the report."""

import asyncio
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from tests.faults.torture.outcome import Outcome
from tests.faults.torture.report import written
from tests.faults.torture.sections import SECTIONS, Plan, Service, section


@click.command()
@click.option("--full/--quick", default=False, help="The evidence, or what CI has time for.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Any number.")
@click.option("--seed", default=1, show_default=True, help="Of every random choice.")
@click.option("--service", type=click.Choice([each.value for each in Service]), default="turnkeep")
@click.option("--mutant", default="", help="A wrong version of the service, by its name.")
@click.option("--report", type=click.Path(path_type=Path), help="A folder for torture-*.json, .md.")
def main(
    *, full: bool, only: tuple[str, ...], seed: int, service: str, mutant: str, report: Path | None
) -> None:
    """Attacks every promise. Exits 1 when one is broken."""
    outcomes: list[Outcome] = []
    for name in only or SECTIONS:
        with tempfile.TemporaryDirectory(prefix=f"torture-{name}-") as folder:
            plan = Plan(full, seed, Path(folder), Service(service), mutant)
            outcomes.append(_run(name, plan))
        if report:
            # After each: an hour's run that is cut off keeps what it has found.
            written(outcomes, report, full=full, seed=seed, service=service)
    failed = [each.section for each in outcomes if each.problems]
    print(f"torture: {len(outcomes) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def _run(name: str, plan: Plan) -> Outcome:
    print(f"--- {name}", flush=True)
    began = time.monotonic()
    try:
        outcome = asyncio.run(section(name)(plan))
    except Exception as error:  # noqa: BLE001  # the other sections are to run
        traceback.print_exc()
        outcome = Outcome(name)
        outcome.violations[f"the section itself failed: {type(error).__name__}"] += 1
    outcome.seconds = time.monotonic() - began
    _say(outcome)
    return outcome


def _say(outcome: Outcome) -> None:
    if outcome.skipped:
        print(f"SKIPPED {outcome.section}: {outcome.skipped}", flush=True)
    faults = ", ".join(f"{count} {kind}" for kind, count in outcome.faults.items())
    print(f"{outcome.section}: {outcome.seconds:.0f} s, {outcome.calls} calls, {faults or 'none'}")
    for name, figure in outcome.figures.items():
        print(f"  {name}: {figure.value:.4g} {figure.unit}")
    for problem in outcome.problems:
        print(f"  BROKEN: {problem}")
    if outcome.first_violation:
        print(outcome.first_violation)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
