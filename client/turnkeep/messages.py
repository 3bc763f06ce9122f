"""What the client takes and gives: plain data, with the contract's own names.

Enumerations are words in lower case ("assistant", "completed", "max_tokens"); one that this version
of the client does not know is "unspecified". Times are UTC and timezone-aware.

Nobody should change them, yet they are not frozen: to freeze them takes as long again as to define
them, which every import of the client would pay. So would a comparison and a repr made for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

Role = Literal["unspecified", "system", "user", "assistant", "tool"]
TurnStatus = Literal["unspecified", "running", "completed", "failed", "cancelled"]
FinishReason = Literal["unspecified", "stop", "max_tokens", "content_filter", "tool_calls"]


class _Data:
    """What dataclass would make for each class anew."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"


@dataclass(slots=True, eq=False, repr=False)
class TextPart(_Data):
    """A piece of text in a message of several parts."""

    text: str


@dataclass(slots=True, eq=False, repr=False)
class ImagePart(_Data):
    """An image: an https:, http: or data: URL, at most 1 MiB."""

    url: str


@dataclass(slots=True, eq=False, repr=False)
class FilePart(_Data):
    """A file by value, at most 1 MiB; `media_type` is such as application/pdf."""

    name: str
    media_type: str
    data: bytes


ContentPart = TextPart | ImagePart | FilePart


@dataclass(slots=True, eq=False, repr=False)
class ToolCall(_Data):
    """A tool that the model asks for; the arguments are a JSON object as text."""

    id: str
    name: str
    arguments_json: str = "{}"


@dataclass(slots=True, eq=False, repr=False)
class Message(_Data):
    """One message of a turn. The limits are those of `turnkeep.v1.Message`.

    The fields after `metadata` are the service's: they are set on messages that it gave, and
    ignored on those that it is given.
    """

    role: Role
    text: str = ""
    parts: tuple[ContentPart, ...] = ()
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    sequence: int = 0
    status: TurnStatus = "unspecified"
    create_time: datetime | None = None


@dataclass(slots=True, eq=False, repr=False)
class Usage(_Data):
    """What a turn cost, in tokens, as the provider reported it; all 0 if it did not."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True, eq=False, repr=False)
class ContextReport(_Data):
    """What of the session's history the model was sent: messages, and estimated tokens in all."""

    included_messages: int = 0
    omitted_messages: int = 0
    summary_used: bool = False
    estimated_input_tokens: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Started(_Data):
    """A streamed turn has its place, and the model is being asked."""

    sequence: int
    model: str
    context: ContextReport


@dataclass(slots=True, eq=False, repr=False)
class Reply(_Data):
    """A completed turn's answer; `str(reply)` is its text."""

    message: Message
    sequence: int
    finish_reason: FinishReason
    usage: Usage
    context: ContextReport
    model: str
    replayed: bool
    """Whether this is the stored answer of an earlier call with the same request_id."""
    request_id: str

    @property
    def text(self) -> str:
        """What the model said."""
        return self.message.text

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True, eq=False, repr=False)
class Added(_Data):
    """Messages that were appended as one turn."""

    messages: tuple[Message, ...]
    sequence: int
    replayed: bool
    request_id: str


@dataclass(slots=True, eq=False, repr=False)
class Cleared(_Data):
    """What was forgotten, unfinished turns included."""

    cleared_messages: int
    cleared_turns: int


@dataclass(slots=True, eq=False, repr=False)
class Preview(_Data):
    """What a turn would send to the model: the messages in the order in which it would get them."""

    messages: tuple[Message, ...]
    context: ContextReport
    model: str


@dataclass(slots=True, eq=False, repr=False)
class SessionInfo(_Data):
    """A session as it is listed: a view at most a second behind its turns."""

    session_id: str
    user_id: str
    last_sequence: int
    message_count: int
    create_time: datetime
    update_time: datetime
