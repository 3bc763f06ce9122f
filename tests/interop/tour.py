"""A tour under way: an example as a child process, watched from the outside."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.child import POLL_SECONDS, Child
from tests.kit.openai_stub import Call, OpenAIStub
from tests.rpc.session import Session, message
from turnkeep.v1 import conversation_pb2 as pb

TIMEOUT_SECONDS = 60.0
REPLY = "Ответ 答复 رد 🙂 на вопрос"
PIECE = REPLY[:4]
CHAT = "Привет! Меня зовут Виктор 👋"
STREAM = "你还记得我叫什么吗?"
CANCEL = "Расскажи длинную историю 🐘"
ADDED = [("USER", "كم الساعة الآن؟"), ("ASSISTANT", "الثالثة ظهراً 🕒")]
BEFORE = [message("user", "до 之前 قبل ⏮️"), message("assistant", "вот"), message("user", "и всё")]


def reply_to(question: str) -> str:
    """What the model says: of the long story far more than a tour waits for."""
    return f"{REPLY} {question}" + " и дальше" * (200 if question == CANCEL else 10)


@dataclass(frozen=True)
class Tour:
    """A tour that has ended, and what can be known of it without believing it."""

    exit_code: int
    output: str
    streamed_live: bool
    """Whether the first text of StreamChat was shown before the model had said its last."""
    calls: list[Call]
    """The model's calls."""
    stored: list[pb.Message]
    """The session's messages, read by the Python stub, unfinished turns too."""

    def call(self, question: str) -> Call:
        """The one call that the model answered with this question last in its input."""
        asked = [each for each in self.calls if each.input[-1] == ("user", question)]
        return asked[-1]


async def run(
    argv: Sequence[str], env: Mapping[str, str], session: Session, model: OpenAIStub, file: Path
) -> Tour:
    """Runs a tour on a session that has something to forget; its output goes into `file`."""
    await session.add(*BEFORE)
    child = Child(argv, env={**os.environ, **env}, stdout=file, stderr=file)
    live: bool | None = None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (code := child.exit_code) is None:
                if (
                    live is None
                    and PIECE in file.read_text(errors="ignore").partition("StreamChat")[2]
                ):
                    live = not model.calls[-1].finished
                await asyncio.sleep(POLL_SECONDS)
    finally:
        child.kill()
    return Tour(code, file.read_text(), bool(live), list(model.calls), await session.everything())
