"""The client of Turnkeep, a conversation service in which every turn is a transaction.

    async with ConversationClient("127.0.0.1:50051") as client:
        session = client.session("42", user_id="victor")
        reply = await session.chat("Привет! Меня зовут Виктор")
        print(reply.text)
        async for text in session.stream("Как меня зовут?"):
            print(text, end="", flush=True)

`turnkeep.sync` has the same client without asyncio. `turnkeep.v1` holds the generated messages and
stubs, which this client is made of.
"""

from turnkeep.client import ConversationClient
from turnkeep.errors import (
    Aborted,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    TurnkeepError,
    Unauthenticated,
    Unavailable,
)
from turnkeep.messages import (
    Added,
    Cleared,
    ContentPart,
    ContextReport,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Preview,
    Reply,
    Role,
    SessionInfo,
    Started,
    TextPart,
    ToolCall,
    TurnStatus,
    Usage,
)
from turnkeep.reply_stream import ReplyStream
from turnkeep.requests import ConflictPolicy, TurnOptions
from turnkeep.session import Session
from turnkeep.version import __version__

__all__ = [
    "Aborted",
    "Added",
    "Cancelled",
    "Cleared",
    "ConflictPolicy",
    "ContentPart",
    "ContextReport",
    "ConversationClient",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FilePart",
    "FinishReason",
    "ImagePart",
    "InternalError",
    "InvalidArgument",
    "Message",
    "PermissionDenied",
    "Preview",
    "Reply",
    "ReplyStream",
    "ResourceExhausted",
    "Role",
    "Session",
    "SessionInfo",
    "Started",
    "TextPart",
    "ToolCall",
    "TurnOptions",
    "TurnStatus",
    "TurnkeepError",
    "Unauthenticated",
    "Unavailable",
    "Usage",
    "__version__",
]
