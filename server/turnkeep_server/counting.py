"""Counting the tokens of messages beside the event loop, which large ones would hold up."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from turnkeep_server.tokens import counted
from turnkeep_server.turns import Message

# Counted within a millisecond or two.
_FAST_CHARS = 8_192


async def counted_messages(*messages: Message) -> tuple[Message, ...]:
    """The messages with their tokens counted: large ones in a thread, as that may take 200 ms.

    Not in one of the loop's own threads, which an operator's chain may keep busy.
    """
    if len(messages) == 1 and _counts_fast(messages[0]):
        return (counted(messages[0]),)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_counting(), lambda: tuple(map(counted, messages)))


@cache
def _counting() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="counting")


def _counts_fast(message: Message) -> bool:
    return len(message.text) < _FAST_CHARS and not message.parts and not message.tool_calls
