"""Callers that go on, whatever happens to the servers; and what of it must be found afterwards."""

import asyncio
import itertools
from collections import Counter

from turnkeep import ConversationClient, Session, Unavailable


async def call_on(
    client: ConversationClient, number: int, over: asyncio.Event, *, killed: bool = False
) -> list[str]:
    """Calls without a pause until `over`; what was said. An error of any call ends it.

    Servers that are `killed` may break a stream off of which text had come, which the client does
    not send again by itself: such a one is sent again here, under the same request_id.
    """
    session = client.session(f"{number}")
    said = []
    for n in itertools.count():
        if over.is_set():
            return said
        said.append(f"вопрос {n} 問 🙂")
        match n % 3:
            case 0:
                await session.chat(said[-1])
            case 1:
                await _streamed(session, said[-1], killed=killed)
            case _:
                await session.add([("user", said[-1])])
                newest = await anext(aiter(session.messages(newest_first=True, page_size=1)))
                assert newest.text == said[-1]
    raise AssertionError("counting never ends")


async def _streamed(session: Session, text: str, *, killed: bool) -> None:
    try:
        await session.stream(text).result()
    except Unavailable as error:
        if not (killed and error.partial_text):
            raise
        await session.chat(text, request_id=error.request_id)


async def stored_questions(client: ConversationClient, number: int) -> Counter[str]:
    """The questions of a session's completed turns."""
    messages = client.session(f"{number}").messages()
    return Counter([each.text async for each in messages if each.role == "user"])
