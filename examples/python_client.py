"""A program of yours that talks to Turnkeep: an assistant that notes what it is told.

    python examples/python_client.py [HOST:PORT]

Passes mypy --strict as it is.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence

import turnkeep
from turnkeep import ConversationClient, Message, Reply, Session, TurnOptions

USER_ID = "victor"


class Assistant:
    """One person's assistant, in one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._options: TurnOptions = {"max_messages": 20, "timeout_seconds": 30.0}

    async def note(self, facts: Sequence[str]) -> int:
        """Notes facts without asking the model; returns the session's last sequence."""
        added = await self._session.add([("system", fact) for fact in facts])
        return added.sequence

    async def ask(self, question: str, known: int | None = None) -> Reply:
        """Asks; with `known`, only if nobody has gone on since that sequence."""
        options: TurnOptions = {**self._options}
        if known is not None:
            options["expected_sequence"] = known
        return await self._session.chat(question, **options)

    async def tell(self, question: str) -> AsyncIterator[str]:
        """Asks, and gives the answer as it comes; says where it broke."""
        stream = self._session.stream(question, **self._options)
        try:
            async for text in stream:
                yield text
        except turnkeep.Unavailable as broken:
            yield f" … (broken after {len(broken.partial_text)} characters)"
            if broken.retryable:
                again = self._session.stream(question, request_id=broken.request_id)
                yield (await again.result()).text

    async def remembered(self) -> list[Message]:
        """All that was said, oldest first."""
        return [each async for each in self._session.messages()]


async def main(target: str) -> int:
    """Walks through it once."""
    async with ConversationClient(target) as client:
        session = client.session("example", user_id=USER_ID)
        await session.clear()
        assistant = Assistant(session)
        known = await assistant.note(["The user's name is Виктор.", "He lives in 喀山."])
        reply = await assistant.ask("Как меня зовут?", known)
        print(reply.sequence, reply.text, reply.usage.input_tokens, reply.finish_reason)
        async for text in assistant.tell("Где я живу? 🙂"):
            print(text, end="", flush=True)
        print()
        try:
            await assistant.ask("Ещё?", known)
        except turnkeep.Aborted as error:
            print(error.reason, "at", error.metadata["current_sequence"])
        for message in await assistant.remembered():
            stored = message.create_time.isoformat() if message.create_time else "?"
            print(f"{message.sequence} {message.role:9} {stored} {message.text}")
        cleared = await session.clear()
        print(cleared.cleared_messages, "messages forgotten")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")))
