"""The stub model of the torture suite: each call has an answer of its own, and is kept briefly."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from tests.faults.torture.calls import ModelCall
from tests.kit import openai_wire as wire
from tests.kit.canary import MARK
from tests.kit.openai_faults import Fault
from tests.kit.openai_stub import Call, OpenAIStub

# A model that is too quick leaves no turn running for a fault to meet.
QUICK_SECONDS, SLOW_SECONDS, SLOW_SHARE = 0.02, 0.25, 0.05
FAULTS = (Fault.SERVER_ERROR, Fault.CUT, Fault.EARLY_END, Fault.RATE_LIMITED)
_ANSWER = "torture_answer"
_PIECES = 4


class AskedModel(OpenAIStub):
    """Answers "ответ N на …", N never twice, and keeps of each call what a history needs.

    `fault_share`: of calls that fail as providers do.
    """

    def __init__(self, seed: int, fault_share: float = 0.0) -> None:
        super().__init__(_answer_of, delta_delay_seconds=0.001)
        self.asked: list[ModelCall] = []
        # The stub's own list would keep every body: gigabytes.
        self.calls = _Kept(self)
        self.deltas = lambda text: wire.cut(text, max(1, -(-len(text) // _PIECES)))
        self.retry_after = "0.05"
        self.gate = self._take_time
        self._dice = random.Random(seed)
        self._fault_share = fault_share
        self.slow: Callable[[str], float] = lambda _: 0.0
        """How many seconds a question takes, beside what each does."""
        self._texts: dict[str, str] = {}
        # A caller that was killed in the middle of an answer is what this is about, no error.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

    def keep(self, call: Call) -> None:
        """Notes a call that has come in, and settles its answer."""
        number = len(self.asked) + 1
        question = wire.text_of(call.messages[-1])
        answer = f"ответ {number} на «{question.partition(' ')[0]}» {MARK} 回答 🙂"
        # The script knows the messages alone, and asks for the text more than once.
        call.messages[-1][_ANSWER] = answer
        before = [(role, self._once(text)) for role, text in call.input[:-1]]
        if before and before[0][0] in ("system", "developer"):
            del before[0]
        at = time.monotonic_ns()
        self.asked.append(ModelCall(number, at, self._once(question), tuple(before), answer))
        if self._dice.random() < self._fault_share:
            self.faults.append(self._dice.choice(FAULTS))

    def _once(self, text: str) -> str:
        """The same text as one object: a session's is in every input after it."""
        return self._texts.setdefault(text, text)

    async def _take_time(self, call: Call) -> None:
        slow = self._dice.random() < SLOW_SHARE
        seconds = self._dice.uniform(0, SLOW_SECONDS if slow else QUICK_SECONDS)
        await asyncio.sleep(seconds + self.slow(wire.text_of(call.messages[-1])))


class _Kept(list[Call]):
    """In the place of the stub's list of calls."""

    def __init__(self, model: AskedModel) -> None:
        super().__init__()
        self._model = model

    def append(self, call: Call) -> None:
        self._model.keep(call)


def _answer_of(messages: list[dict[str, Any]]) -> str:
    answer: str = messages[-1][_ANSWER]
    return answer
