"""The same client without asyncio: the same names, blocking.

But for transport.py it is made from the asynchronous modules by `make sync-client`: mend those.
"""

from turnkeep.sync.client import ConversationClient
from turnkeep.sync.reply_stream import ReplyStream
from turnkeep.sync.session import Session

__all__ = ["ConversationClient", "ReplyStream", "Session"]
