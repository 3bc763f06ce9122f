"""`python -m tests.faults.torture`: runs the sections and writes the report."""

import sys
from functools import partial
from pathlib import Path

import click

from tests.faults.torture.outcome import Outcome
from tests.faults.torture.report import kept, written
from tests.faults.torture.running import outcomes_of, run_section
from tests.faults.torture.sections import SECTIONS, Service


@click.command()
@click.option("--full/--quick", default=False, help="The evidence, or what CI has time for.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Any number.")
@click.option("--seed", default=1, show_default=True, help="Of every random choice.")
@click.option("--service", type=click.Choice([each.value for each in Service]), default="turnkeep")
@click.option("--mutant", default="", help="A wrong version of the service, by its name.")
@click.option(
    "--jobs", default=1, show_default=True, help="Sections at a time, but for timed ones."
)
@click.option("--again", is_flag=True, help="The report keeps what --only does not run.")
@click.option("--report", type=click.Path(path_type=Path), help="A folder for torture-*.json, .md.")
def main(
    *,
    full: bool,
    only: tuple[str, ...],
    seed: int,
    service: str,
    mutant: str,
    jobs: int,
    again: bool,
    report: Path | None,
) -> None:
    """Attacks every promise. Exits 1 when one is broken."""
    outcomes: list[Outcome] = []
    before = kept(report, full=full, service=service, again=only) if again and report else []
    run = partial(run_section, full=full, seed=seed, service=Service(service), mutant=mutant)
    for outcome in outcomes_of(run, only or tuple(SECTIONS), jobs):
        _say(outcome)
        outcomes.append(outcome)
        if report:
            # After each: an hour's run that is cut off keeps what it has found.
            order = list(SECTIONS)
            shown = sorted([*before, *outcomes], key=lambda each: order.index(each.section))
            which = {"again" if again else "only": only}
            written(shown, report, full=full, seed=seed, service=service, jobs=jobs, **which)
    failed = [each.section for each in outcomes if each.problems]
    print(f"torture: {len(outcomes) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


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
