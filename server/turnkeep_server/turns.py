"""The domain's types: session key, message, turn, usage. Plain data, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum


class Role(StrEnum):
    """Who speaks in a message."""

    SYSTEM = "SYSTEM"
    USER = "USER"
    ASSISTANT = "ASSISTANT"
    TOOL = "TOOL"


class TurnStatus(StrEnum):
    """How far a turn has come. CLEARED is the tombstone of a clear: readers stop there."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CLEARED = "CLEARED"


class FinishReason(StrEnum):
    """Why the model stopped."""

    UNSPECIFIED = "UNSPECIFIED"
    STOP = "STOP"
    MAX_TOKENS = "MAX_TOKENS"
    CONTENT_FILTER = "CONTENT_FILTER"
    TOOL_CALLS = "TOOL_CALLS"


UNFINISHED = frozenset({TurnStatus.FAILED, TurnStatus.CANCELLED})
"""Turns that ended without a reply: kept, listed on request, never sent to the model again."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What identifies a session. It leads every index, so a store shards on it.

    Raises ValueError without a tenant: there is no data that is nobody's.
    """

    tenant: str
    user_id: str
    session_id: str

    def __post_init__(self) -> None:
        check_tenant(self.tenant)


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text in a message of several parts."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image, by its https: or data: URL."""

    url: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, by value."""

    name: str
    media_type: str
    data: bytes


ContentPart = TextPart | ImagePart | FilePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for; the arguments are a JSON object as text."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """A message's estimated size, before any model's correction; sums are sizes of several.

    `o200k`: tokens of its text by the vocabulary of gpt-4o and what came after it. `cl100k`: the
    same by that of gpt-4 and gpt-3.5, mostly more: for models that nobody knows. `images`: how many
    there are. `tiles`: the squares of 512 pixels that they cover together. What an image and a tile
    cost in tokens differs from model to model.
    """

    o200k: int = 0
    cl100k: int = 0
    images: int = 0
    tiles: int = 0

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(
            self.o200k + other.o200k,
            self.cl100k + other.cl100k,
            self.images + other.images,
            self.tiles + other.tiles,
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a turn. `created_at` is None until it is stored, `tokens` until counted.

    Messages that say the same are equal, whatever they were counted as.
    """

    role: Role
    text: str = ""
    parts: tuple[ContentPart, ...] = ()
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    tokens: TokenCounts | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn cost, as the provider reported it, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What of the session's history the model was sent."""

    included_messages: int = 0
    omitted_messages: int = 0
    summary_used: bool = False
    estimated_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered."""

    message: Message
    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class TurnDraft:
    """A turn that has no place yet.

    `messages_before` counts the messages of the session's completed turns before it (since the
    last clear). Each turn carries it on, so how long a session is never has to be counted.
    """

    messages: tuple[Message, ...]
    messages_before: int
    request_id: str = ""
    fingerprint: str = ""
    model: str = ""
    context: ContextReport = field(default_factory=ContextReport)
    usage: Usage = field(default_factory=Usage)

    def placed(self, turn_id: str, sequence: int, status: TurnStatus, *, owner: str) -> "Turn":
        """The turn this draft becomes at `sequence`, RUNNING or already COMPLETED, as of now."""
        now = utc_now()
        return Turn(
            id=turn_id,
            sequence=sequence,
            status=status,
            messages=tuple(replace(each, created_at=now) for each in self.messages),
            messages_before=self.messages_before,
            created_at=now,
            request_id=self.request_id,
            fingerprint=self.fingerprint,
            model=self.model,
            context=self.context,
            usage=self.usage,
            completed_at=now if status is TurnStatus.COMPLETED else None,
            owner=owner,
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request added to a session: its messages and one status, stored as one document."""

    id: str
    sequence: int
    status: TurnStatus
    messages: tuple[Message, ...]
    messages_before: int
    created_at: datetime
    request_id: str = ""
    fingerprint: str = ""
    model: str = ""
    context: ContextReport = field(default_factory=ContextReport)
    completed_at: datetime | None = None
    finish_reason: FinishReason = FinishReason.UNSPECIFIED
    usage: Usage = field(default_factory=Usage)
    failure: str = ""
    owner: str = ""
    awaited_by: str = ""

    @property
    def messages_so_far(self) -> int:
        """Messages of the session's completed turns up to and with this one."""
        own = len(self.messages) if self.status is TurnStatus.COMPLETED else 0
        return self.messages_before + own

    @property
    def updated_at(self) -> datetime:
        """When it ended, or began if it is running."""
        return self.completed_at or self.created_at

    def completed(self, reply: Reply) -> "Turn":
        """This running turn, ended with its reply, as of now."""
        now = utc_now()
        return replace(
            self,
            status=TurnStatus.COMPLETED,
            messages=(*self.messages, replace(reply.message, created_at=now)),
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            completed_at=now,
        )

    def ended(self, status: TurnStatus, failure: str, partial_text: str) -> "Turn":
        """This running turn, ended without a reply, as of now; it gives up its request_id.

        `partial_text` is what had come of the reply and is kept as an ASSISTANT message; empty
        keeps none. `failure` is the reason, out of the wire contract's closed list.
        """
        now = utc_now()
        partial = Message(role=Role.ASSISTANT, text=partial_text, created_at=now)
        return replace(
            self,
            status=status,
            messages=(*self.messages, partial) if partial_text else self.messages,
            request_id="",
            failure=failure,
            completed_at=now,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What a session's older turns said, in few words; kept on the newest turn that it covers.

    `pieces` are SYSTEM messages, oldest first, each about some turns. `covers_messages` counts the
    messages of the completed turns that it covers, since the last clear.
    """

    pieces: tuple[Message, ...]
    through_sequence: int
    covers_messages: int


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session as it is listed."""

    session: SessionKey
    last_sequence: int
    message_count: int
    created_at: datetime
    updated_at: datetime


def check_tenant(tenant: str) -> None:
    """Raises ValueError for none: everything that is read or written is some tenant's."""
    if not tenant:
        raise ValueError("no tenant")


def utc_now() -> datetime:
    """The time now, UTC, in whole milliseconds: what BSON keeps, so an answer equals its replay."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
