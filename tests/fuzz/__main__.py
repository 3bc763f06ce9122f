"""`python -m tests.fuzz`: every target and the wire, in full size; exits 1 if anything is found."""

import asyncio
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.fuzz import engine, served, wire
from tests.fuzz.targets import TARGETS
from tests.kit.canary import SecretLeaked
from tests.kit.mongod import Mongod

_CALLERS = 48
# The other targets get a twentieth of what the first one gets.
_OTHERS = 20
_MOST_GUIDED_SECONDS = 900.0
_LONGEST_INPUT_BYTES = 8_192


@dataclass(slots=True)
class Row:
    """A line of the report."""

    what: str
    inputs: int
    became: str
    found: int
    seconds: float


@click.command()
@click.option("--inputs", default=1_000_000, show_default=True, help="For decode + validate.")
@click.option("--guided", default=20_000, show_default=True, help="For each target, by coverage.")
@click.option("--wire", "calls", default=100_000, show_default=True, help="Over the wire.")
@click.option("--seed", type=int, help="Of every random choice; a new one unless given.")
@click.option("--report", type=click.Path(path_type=Path), help="A file to write the figures to.")
def main(*, inputs: int, guided: int, calls: int, seed: int | None, report: Path | None) -> None:
    """Fuzzes. What fails is kept in tests/fuzz/corpus, where `make test` replays it."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"fuzz: --seed {seed}", flush=True)
    sizes = {each: inputs if each == "validation" else inputs // _OTHERS for each in TARGETS}
    rows = [_thrown(target, size, seed) for target, size in sizes.items()]
    rows += [_guided(target, guided, seed) for target in TARGETS if guided]
    if calls:
        rows.append(asyncio.run(_over_the_wire(calls, seed)))
    found = sum(each.found for each in rows)
    if report:
        report.write_text(_page(rows, seed))
    print(f"fuzz: {sum(each.inputs for each in rows)} inputs, {found} found, --seed {seed}")
    sys.exit(1 if found else 0)


def _thrown(target: str, inputs: int, seed: int) -> Row:
    tally = engine.fuzzed(target, inputs, seed)
    for crash in tally.crashes.values():
        smaller = engine.minimised(crash)
        print(f"CRASH of {target}: {crash.place}\n{crash.told}kept: {engine.kept(smaller)}")
    became = ", ".join(f"{count} {what}" for what, count in tally.became.most_common(6))
    slowest = f"; slowest {tally.slowest_seconds * 1000:.0f} ms"
    return _told(Row(target, tally.inputs, became + slowest, len(tally.crashes), tally.seconds))


def _guided(target: str, runs: int, seed: int) -> Row:
    """By atheris, in a process of its own: it instruments the server's code."""
    began = time.monotonic()
    if importlib.util.find_spec("atheris") is None:
        return _told(Row(f"{target}, guided", 0, "no atheris for this machine", 0, 0.0))
    with tempfile.TemporaryDirectory() as found:
        kept = engine.CORPUS / target
        kept.mkdir(parents=True, exist_ok=True)
        options = [
            *(f"-runs={runs}", f"-seed={seed % 2**31 or 1}", f"-artifact_prefix={found}/crash-"),
            *(
                f"-max_len={_LONGEST_INPUT_BYTES}",
                "-timeout=30",
                "-rss_limit_mb=4096",
                "-verbosity=1",
            ),
            f"-max_total_time={_MOST_GUIDED_SECONDS:.0f}",
        ]
        corpus = Path(found, "corpus")
        corpus.mkdir()
        argv = [sys.executable, "-m", "tests.fuzz.guided", target, *options, str(corpus), str(kept)]
        run = subprocess.run(argv, capture_output=True, text=True)
        crashes = [path.read_bytes() for path in Path(found).glob("crash-*")]
    for data in crashes:
        crash = engine.crash_of(target, data) or engine.Crash(target, "slow", data, run.stderr)
        smaller = engine.minimised(crash)
        print(f"CRASH of {target}: {crash.place}\n{crash.told}kept: {engine.kept(smaller)}")
    if run.returncode and not crashes:
        raise RuntimeError(f"atheris ended with {run.returncode}:\n{run.stderr[-3000:]}")
    told = re.findall(r"cov: (\d+) ft: (\d+)", run.stderr)
    reached = f"{told[-1][0]} edges, {told[-1][1]} features reached" if told else "?"
    done = re.search(r"Done (\d+) runs", run.stderr)
    count = int(done[1]) if done else 0
    seconds = time.monotonic() - began
    return _told(Row(f"{target}, guided", count, reached, len(crashes), seconds))


async def _over_the_wire(calls: int, seed: int) -> Row:
    began, wrong = time.monotonic(), list[str]()
    with tempfile.TemporaryDirectory(prefix="turnkeep-fuzz-") as name:
        folder = Path(name)
        async with Mongod(folder / "mongod") as mongod:
            server = served.fuzz_server(mongod.url_for("fuzz"), folder)
            try:
                async with server:
                    answers = await wire.sent(
                        server.address, wire.requests_of(calls, seed), _CALLERS
                    )
                    after = await served.aftermath(server, answers)
            except SecretLeaked as error:
                wrong.append(str(error))
    for _, request in answers.broken[:20]:
        print(f"kept: {engine.kept(engine.Crash('wire', '', request.kept, ''))}")
    wrong += after.wrong
    for each in wrong[:50]:
        print(f"FOUND: {each}")
    statuses = ", ".join(f"{count} {name}" for name, count in answers.statuses.most_common())
    became = (
        f"{statuses}; 0 of them UNKNOWN or INTERNAL"
        if not {"UNKNOWN", "INTERNAL"} & set(answers.statuses)
        else statuses
    )
    became += (
        f"; largest status {answers.largest_status_bytes} bytes; {after.sessions} sessions with "
        f"{after.messages} messages left, all whole and in order"
        f"; the server's memory at its peak {after.peak_mib:.0f} MiB"
    )
    return _told(Row("over the wire", answers.calls, became, len(wrong), time.monotonic() - began))


def _told(row: Row) -> Row:
    print(
        f"{row.what}: {row.inputs} inputs in {row.seconds:.0f} s, {row.found} found ({row.became})",
        flush=True,
    )
    return row


def _page(rows: list[Row], seed: int) -> str:
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# Fuzzing",
        "",
        "Written by `make fuzz`, which exits 1 when anything is found. What each row is about:",
        "`tests/fuzz/targets.py` and `tests/fuzz/wire.py`. What was found is mended; its inputs",
        "are in `tests/fuzz/corpus`, which `make test` replays.",
        "",
        f"{day}, {os.cpu_count()} cores, {memory} GiB of memory, seed {seed}.",
        "",
        "| what | inputs | found | seconds | what became of them |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.inputs:,} | {row.found} | {row.seconds:.0f} | {row.became} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
