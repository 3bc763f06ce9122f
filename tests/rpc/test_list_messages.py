"""ListMessages: a session's messages, a page at a time, while others go on writing."""

import asyncio

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import Session, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLDEST, NEWEST = pb.ORDER_OLDEST_FIRST, pb.ORDER_NEWEST_FIRST
each_order = pytest.mark.parametrize("order", [OLDEST, NEWEST], ids=["oldest", "newest"])


async def _add(session: Session, *names: object) -> None:
    await session.add(*(message("user", str(name)) for name in names))


def _names(messages: list[pb.Message]) -> list[str]:
    return [each.text for each in messages]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_pages_join_to_the_whole_session(session: Session, size: int) -> None:
    """Either way round, whatever the page size, within turns and across them."""
    for start in (0, 1, 4, 9):
        await _add(session, *range(start, start * 2 + 1))
    everything = await session.messages()

    assert [each.sequence for each in everything] == sorted(each.sequence for each in everything)
    assert await session.messages(page_size=size, order=OLDEST) == everything
    assert await session.messages(page_size=size) == everything
    assert await session.messages(page_size=size, order=NEWEST) == everything[::-1]


@each_order
async def test_appends_between_pages_double_and_drop_nothing(
    session: Session, order: pb.Order.ValueType
) -> None:
    """Oldest first, new messages come on later pages; newest first, on none."""
    await _add(session, *range(3))
    await _add(session, *range(3, 7))
    listed, token, number = list[pb.Message](), "", 7
    while True:
        page = await session.page(page_size=2, page_token=token, order=order)
        listed += page.messages
        if not (token := page.next_page_token):
            break
        if number < 10:
            await _add(session, number)
            number += 1

    names = [str(each) for each in range(10 if order == OLDEST else 7)]
    assert _names(listed) == (names if order == OLDEST else names[::-1])


@each_order
@pytest.mark.parametrize("asked", [0, 1000, 2000])
async def test_a_page_has_as_many_messages_as_asked_within_limits(
    session: Session, asked: int, order: pb.Order.ValueType
) -> None:
    """0 means 50; over 1,000 means 1,000."""
    for start in range(0, 1200, 400):
        await _add(session, *range(start, start + 400))
    page = await session.page(page_size=asked, order=order)

    assert len(page.messages) == (50 if asked == 0 else 1000)
    assert page.next_page_token


async def test_a_negative_page_size_is_refused(session: Session) -> None:
    """INVALID_ARGUMENT names page_size."""
    error = await error_of(session.page(page_size=-1))

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert list(error.bad_fields) == ["page_size"]


@each_order
async def test_pages_cut_through_a_turn_of_500_messages(
    session: Session, order: pb.Order.ValueType
) -> None:
    """A large turn is listed over several pages, in order, each message once."""
    await _add(session, "до")
    await _add(session, *range(500))
    await _add(session, "после")
    pages, token = list[list[str]](), ""
    while True:
        page = await session.page(page_size=200, page_token=token, order=order)
        pages.append(_names(list(page.messages)))
        if not (token := page.next_page_token):
            break

    assert [len(each) for each in pages] == [200, 200, 102]
    names = ["до", *map(str, range(500)), "после"]
    assert sum(pages, []) == (names if order == OLDEST else names[::-1])  # noqa: RUF017


async def test_a_page_that_ends_with_the_session_is_the_last(session: Session) -> None:
    """No empty page follows, and an unknown session is one empty page."""
    empty = await session.page()
    assert (list(empty.messages), empty.next_page_token) == ([], "")
    await _add(session, *range(4))
    assert (await session.page(page_size=4)).next_page_token == ""


@pytest.mark.parametrize("size", [2, 50])
@each_order
async def test_unfinished_turns_are_listed_when_asked_for(
    session: Session, model: OpenAIStub, order: pb.Order.ValueType, size: int
) -> None:
    """FAILED and CANCELLED turns stand in their place, with their status; RUNNING ones nowhere."""
    step = 1 if order == OLDEST else -1
    await session.chat("раз")
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("два"))
    await session.chat("три")
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.chat("четыре"))
    await model.arrived(4)

    finished = await session.messages(order=order, page_size=size)
    everything = await session.messages(order=order, page_size=size, include_unfinished=True)
    answer.set()
    await running
    assert texts(finished[::step]) == [
        ("user", "раз"),
        ("assistant", "reply to: раз"),
        ("user", "три"),
        ("assistant", "reply to: три"),
    ]
    assert _names(everything[::step])[2] == "два"
    assert [each.status for each in everything[::step]] == [2, 2, 3, 2, 2]
    assert [each for each in everything if each.text != "два"] == finished
