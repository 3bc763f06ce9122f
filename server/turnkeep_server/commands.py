"""What callers ask for, validated, in the domain's words."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnkeep_server.turns import Message, SessionKey


class ConflictPolicy(StrEnum):
    """What to do when another turn of the session is running."""

    WAIT = "WAIT"
    REJECT = "REJECT"


@dataclass(frozen=True, slots=True)
class Claim:
    """How a request claims its place in the session.

    `fingerprint` is a digest of all that the request says; the same `request_id` must come back
    with the same one. An empty `request_id` claims no idempotency. `expected_sequence` is the last
    turn that the caller knows, None if it does not care.
    """

    request_id: str = ""
    fingerprint: str = ""
    on_conflict: ConflictPolicy = ConflictPolicy.WAIT
    expected_sequence: int | None = None


MAX_TEMPERATURE = 2.0
MAX_STOPS, MAX_STOP_CHARS = 4, 256


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How the model is to answer one turn; None leaves it to the server's or provider's default."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def over(self, defaults: "ModelOptions") -> "ModelOptions":
        """The defaults, but for what these set. No stops set none."""
        if self == _NOTHING_SET:
            return defaults
        said = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        given = {name: value for name, value in said.items() if value not in (None, ())}
        return dataclasses.replace(defaults, **given)


_NOTHING_SET = ModelOptions()


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """How much may be sent to the model; None leaves it to the server's default."""

    max_input_tokens: int | None = None
    max_messages: int | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """One turn to run."""

    session: SessionKey
    question: Message
    claim: Claim = field(default_factory=Claim)
    prompt: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    options: ModelOptions = field(default_factory=ModelOptions)
    context: ContextPolicy = field(default_factory=ContextPolicy)


@dataclass(frozen=True, slots=True)
class AddMessages:
    """Messages to append as one turn."""

    session: SessionKey
    messages: tuple[Message, ...]
    claim: Claim = field(default_factory=Claim)


@dataclass(frozen=True, slots=True)
class ListMessages:
    """A page of a session's messages to list."""

    session: SessionKey
    page_size: int
    page_token: str = ""
    newest_first: bool = False
    include_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class ListSessions:
    """A page of a user's sessions to list."""

    tenant: str
    user_id: str
    page_size: int
    page_token: str = ""


def fingerprint(kind: str, *said: object) -> str:
    """A digest of what a request says: equal for equal contents, however they were encoded."""
    text = json.dumps([kind, *said], default=_plain, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        said = (each.name for each in dataclasses.fields(value) if each.compare)
        fields = {name: getattr(value, name) for name in said}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)
