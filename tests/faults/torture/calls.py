"""What was called and what came of it: the records that a history is made of, and its file.

A history is what callers and the model saw, and nothing from inside the service: Jepsen's way
(https://github.com/jepsen-io/jepsen), where a call is an interval with an outcome. All times are
nanoseconds of time.monotonic_ns, one clock for every process of the machine.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

NEVER = 2**63
"""Later than any time: when a call whose outcome nobody knows may still take effect."""


class Op(StrEnum):
    """The RPCs that a history is about."""

    CHAT = "chat"
    STREAM = "stream"
    ADD = "add"
    CLEAR = "clear"
    LIST = "list"


class Verdict(StrEnum):
    """What a caller knows when its call has ended."""

    OK = "ok"
    """It was acknowledged."""
    REFUSED = "refused"
    """The service said that nothing of it is kept, and no attempt before can have been."""
    UNSURE = "unsure"
    """It may have taken effect, or may still do so: the caller gave up or hung up."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a call was sent. `status` is gRPC's name, `reason` that of ErrorInfo."""

    started: int
    ended: int
    status: str
    reason: str = ""
    server: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as a reader saw it. `sequence` 0: the service does not tell."""

    sequence: int
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call, all its attempts. Its texts are unique: each occurs in no other call.

    A chat's or stream's turn is its one text and the reply; what ADD appends is `texts`, spoken in
    turn by user and assistant (`role_of`).
    """

    id: int
    op: Op
    session: str
    started: int
    ended: int
    verdict: Verdict
    request_id: str = ""
    texts: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    sequence: int = 0
    """The place that was acknowledged; 0: none was."""
    reply: str = ""
    """The reply that was acknowledged."""
    replayed: bool = False
    streamed: str | None = None
    """The pieces of a stream together, where the stream ended well."""
    seen: tuple[Seen, ...] = ()
    """What a LIST answered. Its `started` is that of the attempt that was answered."""
    unfinished: bool = False
    """Whether a LIST asked for failed and cancelled turns too."""

    @property
    def ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.verdict is Verdict.OK

    @property
    def asks(self) -> bool:
        """Whether a model answers it."""
        return self.op in (Op.CHAT, Op.STREAM)

    @property
    def writes(self) -> bool:
        """Whether it adds a turn."""
        return self.asks or self.op is Op.ADD

    @property
    def settled(self) -> int:
        """When it had surely taken effect, if it ever did."""
        return self.ended if self.ok else NEVER

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Self:
        """From what `asdict` and JSON made of it."""
        return cls(
            **{
                **data,
                "op": Op(data["op"]),
                "verdict": Verdict(data["verdict"]),
                "texts": tuple(data["texts"]),
                "attempts": tuple(Attempt(*each) for each in data["attempts"]),
                "seen": tuple(Seen(*each) for each in data["seen"]),
            }
        )


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to the model. `answer` is unique, sent or not."""

    id: int
    started: int
    """When it reached the model: the history was read before that."""
    question: str
    """The text of the last message."""
    before: tuple[tuple[str, str], ...]
    """(role, text) of the messages before it, without the system's prompt."""
    answer: str


@dataclass(slots=True)
class History:
    """Everything that one run was seen to do."""

    calls: list[Call] = field(default_factory=list)
    asked: list[ModelCall] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """One JSON object a line; calls first."""
        with path.open("w", encoding="utf-8") as file:
            for line in _lines(self.calls, self.asked):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote."""
        history = cls()
        with path.open(encoding="utf-8") as file:
            for line in file:
                data = json.loads(line)
                if "question" in data:
                    before = tuple((role, text) for role, text in data.pop("before"))
                    history.asked.append(ModelCall(**data, before=before))
                else:
                    history.calls.append(Call.of_json(data))
        return history


def role_of(index: int) -> str:
    """Who speaks the text at this index of an ADD."""
    return "assistant" if index % 2 else "user"


def _lines(calls: Sequence[Call], asked: Sequence[ModelCall]) -> Iterable[dict[str, Any]]:
    for call in calls:
        line = asdict(call)
        # Lists: a field's name a thousand times over is most of a file.
        line["attempts"] = [list(each.values()) for each in line["attempts"]]
        line["seen"] = [list(each.values()) for each in line["seen"]]
        yield line
    yield from (asdict(each) for each in asked)
