"""Holds the model's calls until a test lets them go."""

import asyncio

from tests.kit.openai_stub import Call, OpenAIStub


class Gate:
    """Set as a model's gate, it holds the calls whose question is one of those named, or all."""

    def __init__(self, model: OpenAIStub, *questions: str) -> None:
        self._questions = questions
        self._open = asyncio.Event()
        model.gate = self._hold

    def open(self) -> None:
        """Lets go of those held, and holds none any more."""
        self._open.set()

    async def _hold(self, call: Call) -> None:
        if not self._questions or call.input[-1][1] in self._questions:
            await self._open.wait()
