"""The requests that calls send, out of what callers pass."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from turnkeep.messages import Message
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.wire import message_to_wire

ConflictPolicy = Literal["wait", "reject"]
Addable = Message | pb.Message | str | tuple[str, str] | Mapping[str, str]
"""A message to add: ours, the wire's, a user's text, (role, text), or {"role": …, "content": …}."""


class TurnOptions(TypedDict, total=False):
    """What `chat`, `stream` and `preview` take beside the input; all of it optional.

    The limits are those of `turnkeep.v1.ChatRequest`; a server refuses what is over its own.
    """

    prompt: str
    """The name of a configured prompt; else "default"."""
    variables: Mapping[str, str]
    """Values of the prompt's variables."""
    model: str
    """One of the models that the server allows."""
    temperature: float
    """Randomness, 0 to 2."""
    top_p: float
    """Nucleus sampling, over 0 up to 1."""
    max_output_tokens: int
    """The longest reply, in tokens."""
    seed: int
    """A seed, for models that can repeat themselves."""
    stop: Sequence[str]
    """At most 4 texts at which the model stops."""
    max_input_tokens: int
    """The most tokens to send to the model: prompt, summary, history and input."""
    max_messages: int
    """The most messages of the history to send to the model."""
    on_conflict: ConflictPolicy
    """While another turn of the session runs: "wait" for it (the default), or "reject"."""
    expected_sequence: int
    """The session's last turn that the caller knows, 0 for none: Aborted if it has gone on."""
    request_id: str
    """The idempotency key, at most 64 printable ASCII characters; without one, a new one is made.
    Give that of an error or of a turn of yesterday: it is one turn, however often it is sent."""
    timeout_seconds: float
    """For the whole call, all attempts together; without one, the client's."""


_MODEL_OPTIONS = {"model", "temperature", "top_p", "max_output_tokens", "seed", "stop"}
_CONTEXT_POLICY = {"max_input_tokens", "max_messages"}
_NOT_OF_THE_REQUEST = {"timeout_seconds", "request_id", "on_conflict"}


def chat_request(
    session_id: str, user_id: str, content: str | Message | pb.Message, options: TurnOptions
) -> pb.ChatRequest:
    """One turn to run. Raises TypeError or ValueError for what cannot be sent."""
    known = TurnOptions.__annotations__
    if unknown := options.keys() - known.keys():
        raise TypeError(f"no option {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    _check_texts(given)
    said: dict[str, Any] = (
        {"text": content} if isinstance(content, str) else {"message": _wired(content)}
    )
    rest = given.keys() - _MODEL_OPTIONS - _CONTEXT_POLICY - _NOT_OF_THE_REQUEST
    return pb.ChatRequest(
        session_id=session_id,
        user_id=user_id,
        request_id=given.get("request_id") or new_request_id(),
        options=pb.ModelOptions(**{name: given[name] for name in given.keys() & _MODEL_OPTIONS}),
        context=pb.ContextPolicy(**{name: given[name] for name in given.keys() & _CONTEXT_POLICY}),
        on_conflict=_conflict_policy(given.get("on_conflict", "wait")),
        **said,
        **{name: given[name] for name in rest},
    )


def add_messages_request(
    session_id: str,
    user_id: str,
    messages: Iterable[Addable],
    *,
    request_id: str | None,
    on_conflict: ConflictPolicy,
    expected_sequence: int | None,
) -> pb.AddMessagesRequest:
    """Messages to append. Raises TypeError or ValueError for what is no message."""
    if isinstance(messages, str | bytes | Mapping):
        raise TypeError(f"pass a list of messages, not one {type(messages).__name__}")
    return pb.AddMessagesRequest(
        session_id=session_id,
        user_id=user_id,
        request_id=request_id or new_request_id(),
        messages=[_wired(each) for each in messages],
        on_conflict=_conflict_policy(on_conflict),
        expected_sequence=expected_sequence,
    )


def checked_ids(session_id: str, user_id: str) -> tuple[str, str]:
    """The ids. Raises TypeError for numbers and UUIDs, which programs have for them at times."""
    for name, given in (("session_id", session_id), ("user_id", user_id)):
        if not isinstance(given, str):
            raise TypeError(f"{name} is a text, not a {type(given).__name__}: pass str({given!r})")
    return session_id, user_id


def new_request_id() -> str:
    """An idempotency key that nobody used before."""
    return os.urandom(16).hex()


def _wired(message: Addable) -> pb.Message:
    match message:
        case pb.Message():
            return message
        case Message():
            return message_to_wire(message)
        case str(text):
            return message_to_wire(Message("user", text))
        case (str(role), str(text)):
            return message_to_wire(Message(role, text))  # type: ignore[arg-type]  # it checks
        case {"role": str(role), "content": str(text)} if len(message) == 2:
            return message_to_wire(Message(role, text))  # type: ignore[arg-type]  # it checks
    raise TypeError(
        'a message is a turnkeep.Message, a text, ("user", "text") or {"role": "user", "content": '
        f'"text"}}, not a {type(message).__name__} of another form'
    )


def _check_texts(given: Mapping[str, Any]) -> None:
    """Raises TypeError for what protobuf would refuse without a name, or take for a list."""
    if isinstance(given.get("stop"), str):
        raise TypeError("stop is a list of texts, not one text")
    for name, value in dict(given.get("variables", {})).items():
        if not isinstance(value, str):
            raise TypeError(f"the variable {name} is a text, not a {type(value).__name__}")


def _conflict_policy(name: str) -> pb.ConflictPolicy.ValueType:
    if name not in {"wait", "reject"}:
        raise ValueError(f'on_conflict is "wait" or "reject", not {name!r}')
    return pb.ConflictPolicy.Value(f"CONFLICT_POLICY_{name.upper()}")
