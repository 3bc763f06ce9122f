"""Running sections: one after another, or several at a time in processes of their own."""

import asyncio
import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import MEASURED, OURS_AS_IT_IS, Plan, Service, section

SECTION_FAILED = "the section itself failed"


def outcomes_of(run: "partial[Outcome]", names: Sequence[str], jobs: int) -> Iterator[Outcome]:
    """The outcomes as they come: sections that measure times, then the others, `jobs` at once.

    The measured ones go first: whoever starts the suite has, as yet, nothing else to do here.
    """
    for name in names:
        if name in MEASURED:
            yield run(name)
    others = [name for name in names if name not in MEASURED]
    # A process each, and not forked: every section has its own event loop and its own gRPC.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as processes:
        for done in as_completed([processes.submit(run, name) for name in others]):
            yield done.result()


def run_section(name: str, *, full: bool, seed: int, service: Service, mutant: str) -> Outcome:
    """What a section found; that it failed itself is a broken promise too."""
    print(f"--- {name}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"torture-{name}-") as folder:
        plan = Plan(full, seed, Path(folder), service, mutant)
        try:
            outcome = _skipped(name, plan) or asyncio.run(section(name)(plan))
        except Exception as error:  # noqa: BLE001  # the other sections are to run
            traceback.print_exc()
            outcome = Outcome(name)
            outcome.violations[f"{SECTION_FAILED}: {type(error).__name__}"] += 1
    outcome.seconds = time.monotonic() - began
    return outcome


def _skipped(name: str, plan: Plan) -> Outcome | None:
    """What is told of a section that would torture another service than the plan's; else None."""
    if name not in OURS_AS_IT_IS or (plan.service is Service.TURNKEEP and not plan.mutant):
        return None
    return Outcome(name, skipped="made for Turnkeep as it is")
