"""A stored message as LangChain's again, by the rule of docs/migration.md, to compare."""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from turnkeep_server.messages import to_langchain
from turnkeep_server.turns import Message


def back(message: Message) -> BaseMessage:
    """What was imported: the fields of the message, under those that its metadata hold."""
    pieces = [message.metadata.get(f"langchain.{n}", "") for n in range(len(message.metadata))]
    beyond: dict[str, Any] = json.loads("".join(pieces) or "{}")
    plain = to_langchain(message)
    kind = beyond.pop("type", plain.type)
    fields = plain.model_dump(exclude={"type"}) | beyond
    return messages_from_dict([{"type": kind, "data": fields}])[0]


def all_back(messages: Sequence[Message]) -> list[BaseMessage]:
    """All of them."""
    return [back(each) for each in messages]
