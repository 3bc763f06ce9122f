"""Page tokens, and pages of large messages."""

from collections.abc import Callable

import grpc
import pytest

from tests.kit.status import error_of
from tests.rpc.session import Session, message
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

# gRPC clients refuse larger messages unless told otherwise.
MAX_PAGE_BYTES = 4 * 2**20
LONGEST = "🌧" * 65_536


def _many_tool_calls() -> pb.Message:
    calls = [pb.ToolCall(id="🌧" * 127 + str(n % 10), name="☂️" * 60) for n in range(128)]
    return message("assistant", tool_calls=calls)


LARGE: dict[str, tuple[Callable[[], pb.Message], int]] = {
    "texts": (lambda: message("user", LONGEST), 21),
    "metadata": (
        lambda: message("user", "да", metadata={f"{n:02}": "🌧" * 1000 for n in range(32)}),
        45,
    ),
    "tool-calls": (_many_tool_calls, 45),
    "files": (
        lambda: message(
            "user",
            parts=[pb.ContentPart(file=pb.File(name="f", media_type="a/b", data=bytes(2**18)))],
        ),
        21,
    ),
}


@pytest.mark.parametrize(("make", "count"), LARGE.values(), ids=LARGE)
async def test_pages_of_large_messages_fit_into_a_grpc_message(
    session: Session, make: Callable[[], pb.Message], count: int
) -> None:
    """A page ends early rather than grow past 4 MiB; the pages still join to the whole."""
    large, at_once = make(), 7
    for _ in range(0, count, at_once):
        await session.add(*[large] * at_once)
    listed, token, pages = 0, "", 0
    while True:
        page = await session.page(page_size=1000, page_token=token)
        assert 0 < page.ByteSize() < MAX_PAGE_BYTES
        listed, pages = listed + len(page.messages), pages + 1
        if not (token := page.next_page_token):
            break

    assert listed >= count
    assert 2 <= pages <= 5


async def test_a_token_that_is_none_is_refused(session: Session) -> None:
    """Whatever its bytes, INVALID_ARGUMENT names page_token."""
    for token in ("x", "!!", "bnVsbA", "W10", "WzEsIngiXQ", "é", "🌧", "A" * 4000, "{}", " ", "MQ"):
        error = await error_of(session.page(page_token=token))
        assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), token
        assert list(error.bad_fields) == ["page_token"]


async def test_a_token_is_good_for_its_own_listing_alone(session: Session) -> None:
    """Another session, user, order or choice of turns needs a first page of its own."""
    await session.add(*(message("user", str(n)) for n in range(5)))
    token = (await session.page(page_size=2)).next_page_token
    elsewhere = [
        Session(session.turnkeep).page(page_token=token),
        Session(session.turnkeep, session.id, user_id="user-2").page(page_token=token),
        session.page(page_token=token, order=pb.ORDER_NEWEST_FIRST),
        session.page(page_token=token, include_unfinished=True),
    ]
    for call in elsewhere:
        error = await error_of(call)
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT
        assert list(error.bad_fields) == ["page_token"]


async def test_a_token_may_be_used_again_and_with_another_page_size(session: Session) -> None:
    """A token names a place, which stays where it is."""
    await session.add(*(message("user", str(n)) for n in range(5)))
    token = (await session.page(page_size=2)).next_page_token
    for size in (1, 2, 50):
        page = await session.page(page_token=token, page_size=size)
        assert [each.text for each in page.messages] == ["2", "3", "4"][:size]


async def test_a_token_from_before_a_clear_lists_what_came_after(session: Session) -> None:
    """Nothing from before the clear, and no error: the place is simply further on."""
    await session.add(*(message("user", str(n)) for n in range(5)))
    token = (await session.page(page_size=2)).next_page_token
    await session.clear()
    await session.add(message("user", "новое"))

    page = await session.page(page_token=token)
    assert [each.text for each in page.messages] == ["новое"]
