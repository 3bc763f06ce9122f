"""Sections in which a database that lives answers late, wrongly, or not at all."""

import asyncio
import random
import time
from collections.abc import Sequence

from tests.faults.torture.attack import under_load
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan
from tests.kit.fail_command import (
    CLOSED,
    RETRYABLE,
    Failure,
    delayed,
    done_but,
    error,
    failing,
    times_entered,
)
from tests.kit.mongod import Mongod
from tests.kit.small_disk import NoSmallDisk, SmallDisk, small_disk

SECONDS_FROZEN = (0.05, 3.0)
SECONDS_BETWEEN = (0.2, 1.0)
SECONDS_FAILING = 0.3
SHARE_FAILING = 0.3
COMMANDS = ("find", "update", "insert", "aggregate", "delete", "getMore")
FAILURES: tuple[Failure, ...] = (
    CLOSED,
    delayed(0.2),
    error("HostUnreachable", 6, *RETRYABLE),
    error("WriteConcernFailed", 64),
    error("MaxTimeMSExpired", 50),
    error("ExceededTimeLimit", 262),
    done_but("done, not confirmed", 64),
    done_but("done, not confirmed, labelled", 64, *RETRYABLE),
    # After these two the driver looks for another primary, for a heartbeat.
    error("NotWritablePrimary", 10107, *RETRYABLE),
    error("InterruptedAtShutdown", 11600, *RETRYABLE),
)
DISK_MEGABYTES = 400
LEFT_BYTES = 100_000
SECONDS_FULL = (1.0, 6.0)


class _SmallJournal(Mongod):
    """Needs a new file for its journal soon: those that it has are not the disk's to refuse."""

    def _argv(self) -> list[str]:
        return [each.replace("file_max=16MB", "file_max=200KB") for each in super()._argv()]


async def mongod_frozen(plan: Plan) -> Outcome:
    """SIGSTOP of the only mongod, for as long as no call gives up: calls wait."""
    outcome = Outcome("freezes")
    dice = random.Random(plan.seed)
    async with (
        Mongod(plan.folder / "mongod") as mongod,
        under_load(plan, outcome, mongod.url_for("torture")),
    ):
        for _ in range(plan.sized(4, 60)):
            await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN))
            mongod.pause()
            await asyncio.sleep(dice.uniform(*SECONDS_FROZEN))
            mongod.resume()
            outcome.faults["freezes of mongod"] += 1
    return outcome


async def commands_fail(plan: Plan) -> Outcome:
    """failCommand: a share of the commands of each name fail, in each way in turn."""
    outcome = Outcome("commands")
    async with (
        Mongod(plan.folder / "mongod") as mongod,
        under_load(plan, outcome, mongod.url_for("torture")),
    ):
        for _ in range(plan.sized(1, 12)):
            for failure in FAILURES:
                # The writes of errors that only writes have; each name has its turn in `--full`.
                for commands in [COMMANDS] if not plan.full else [[each] for each in COMMANDS]:
                    await _fail(mongod, commands, failure)
        outcome.faults["failed commands"] = await times_entered(mongod)
    return outcome


async def _fail(mongod: Mongod, commands: Sequence[str], failure: Failure) -> None:
    async with failing(mongod, commands, failure, probability=SHARE_FAILING):
        await asyncio.sleep(SECONDS_FAILING)
    await asyncio.sleep(SECONDS_FAILING)


async def disk_full(plan: Plan) -> Outcome:
    """The disk of mongod fills up; it ends, or does not; there is room again and it is started."""
    outcome = Outcome("disk")
    try:
        with small_disk(plan.folder / "disk", DISK_MEGABYTES) as disk:
            await _fill_again_and_again(plan, outcome, disk)
    except NoSmallDisk as why:
        outcome.skipped = str(why)
    return outcome


async def _fill_again_and_again(plan: Plan, outcome: Outcome, disk: SmallDisk) -> None:
    dice = random.Random(plan.seed)
    async with (
        _SmallJournal(disk.folder / "mongod") as mongod,
        under_load(plan, outcome, mongod.url_for("torture")),
    ):
        for _ in range(plan.sized(2, 30)):
            await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN))
            disk.fill(leave_bytes=dice.choice([0, LEFT_BYTES]))
            await _ended(mongod, dice.uniform(*SECONDS_FULL))
            outcome.faults["full disks"] += 1
            if mongod.has_ended:
                outcome.faults["of them ended mongod"] += 1
            disk.empty()
            # One that has not ended would miss what it could not write; so a new one anyway.
            mongod.kill()
            await mongod.start()


async def _ended(mongod: Mongod, timeout_seconds: float) -> None:
    """Waits for its end, so long at most."""
    until = time.monotonic() + timeout_seconds
    while not mongod.has_ended and time.monotonic() < until:
        await asyncio.sleep(0.02)
