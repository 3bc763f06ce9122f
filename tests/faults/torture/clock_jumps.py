"""The wall clock of the database, or of one server, jumps by up to an hour."""

import asyncio
import os
import random
from collections.abc import Mapping

from tests.faults.torture.attack import under_load
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan
from tests.kit.jumping_clock import JumpingClock, why_not
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess

SECONDS_BETWEEN = (0.3, 1.2)
AN_HOUR = 3_600.0
# Around a lease, which is a second here, and far beyond it.
JUMPS = (AN_HOUR, -AN_HOUR, 1.5, -1.5, 60.0, -60.0)


async def clocks_jump(plan: Plan) -> Outcome:
    """The clocks of mongod and of one of two servers jump back and forth, each for itself."""
    outcome = Outcome("clocks")
    outcome.skipped = why_not()
    if outcome.skipped:
        return outcome
    of_mongod, of_a_server = (_clock(plan, name) for name in ("mongod", "server"))
    envs = iter([of_a_server.env, {}])

    def make(env: Mapping[str, str]) -> ServerProcess:
        return ServerProcess({**env, **next(envs)})

    async with (
        Mongod(plan.folder / "mongod", env={**os.environ, **of_mongod.env}) as mongod,
        under_load(plan, outcome, mongod.url_for("torture"), make=make),
    ):
        dice = random.Random(plan.seed)
        for _ in range(plan.sized(12, 200)):
            await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN))
            dice.choice([of_mongod, of_a_server]).jump(dice.choice(JUMPS))
            outcome.faults["jumps of a clock"] += 1
    return outcome


def _clock(plan: Plan, name: str) -> JumpingClock:
    folder = plan.folder / f"clock-{name}"
    folder.mkdir()
    return JumpingClock(folder)
