"""Many messages as requests that the service takes."""

from collections.abc import Iterator, Sequence

from turnkeep.messages import Message
from turnkeep.wire import message_to_wire

# turnkeep.v1.AddMessagesRequest.messages.
MAX_MESSAGES = 500
MAX_BYTES = 2 * 2**20
# The request's ids, each at most 128 bytes, and what protobuf adds to each message.
_IDS_BYTES = 512
_MESSAGE_BYTES = 8


def in_requests(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The messages in order, in as few requests as hold them.

    A request ends within a call of a tool and its results only where one alone cannot hold them. A
    message that is too large by itself comes alone, for the service to refuse.
    """
    request: list[Message] = []
    size = _IDS_BYTES
    for group in _groups(messages):
        sizes = [message_to_wire(each).ByteSize() + _MESSAGE_BYTES for each in group]
        if request and not _fits(len(request) + len(group), size + sum(sizes)):
            yield request
            request, size = [], _IDS_BYTES
        for each, bytes_ in zip(group, sizes, strict=True):
            if request and not _fits(len(request) + 1, size + bytes_):
                yield request
                request, size = [], _IDS_BYTES
            request.append(each)
            size += bytes_
    if request:
        yield request


def _fits(count: int, size: int) -> bool:
    return count <= MAX_MESSAGES and size <= MAX_BYTES


def _groups(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Messages that belong together: a message, and the results of tools right behind it."""
    group: list[Message] = []
    for each in messages:
        if group and each.role != "tool":
            yield group
            group = []
        group.append(each)
    if group:
        yield group
