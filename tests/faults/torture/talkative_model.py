"""The stub model of the cancel storm: it would talk for long."""

import logging
from typing import Any

from tests.faults.torture.calls import ModelCall
from tests.kit import openai_wire as wire
from tests.kit.openai_stub import Call, OpenAIStub

LONG = "долго"
"""A question with this word in it is answered at length."""
SHORT_PIECES, _LONG_PIECES = 3, 200
_PIECE_CHARS = 12
_DELTA_SECONDS = 0.01


class TalkativeModel(OpenAIStub):
    """Answers in pieces, one each 10 ms: two seconds of them, or three to a short question.

    It keeps the calls by their question until they are `taken`.
    """

    def __init__(self) -> None:
        super().__init__(_answer, delta_delay_seconds=_DELTA_SECONDS)
        self.deltas = lambda text: wire.cut(text, _PIECE_CHARS)
        self.by_question: dict[str, list[Call]] = {}
        self.calls = _ByQuestion(self.by_question)
        # Callers who leave in the middle of an answer are what this is about.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

    def taken(self, question: str) -> list[Call]:
        """The calls with this question, which are then forgotten."""
        return self.by_question.pop(question, [])


def answer_to(question: str) -> str:
    """The whole answer to a question: no two questions have the same one."""
    pieces = _LONG_PIECES if LONG in question else SHORT_PIECES
    begin = f"ответ на «{question.partition(' ')[0]}» 回答🙂 "
    return (begin + "и так далее " * _LONG_PIECES)[: pieces * _PIECE_CHARS]


def model_call(number: int, call: Call) -> ModelCall:
    """A call of the stub as a history has it."""
    before = call.input[:-1]
    if before and before[0][0] in ("system", "developer"):
        del before[0]
    question = wire.text_of(call.messages[-1])
    at = int(call.started_at * 1e9)
    return ModelCall(number, at, question, tuple(before), answer_to(question))


def _answer(messages: list[dict[str, Any]]) -> str:
    return answer_to(wire.text_of(messages[-1]))


class _ByQuestion(list[Call]):
    """In the place of the stub's list of calls, which would keep every body."""

    def __init__(self, calls: dict[str, list[Call]]) -> None:
        super().__init__()
        self._calls = calls

    def append(self, call: Call) -> None:
        self._calls.setdefault(wire.text_of(call.messages[-1]), []).append(call)
