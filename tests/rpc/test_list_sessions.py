"""ListSessions: a user's sessions, newest activity first."""

from collections.abc import Sequence

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import TIMEOUT_SECONDS, Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def user(session: Session) -> Session:
    """A session of a user who has no other."""
    return Session(session.turnkeep, user_id=new_id("u"))


async def _page(user: Session, **fields: object) -> pb.ListSessionsResponse:
    fields.setdefault("user_id", user.user_id)
    request = pb.ListSessionsRequest(**fields)
    return await user.turnkeep.ListSessions(request, timeout=TIMEOUT_SECONDS)


async def _sessions(user: Session, size: int = 0) -> Sequence[pb.Session]:
    found, token = list[pb.Session](), ""
    while True:
        page = await _page(user, page_size=size, page_token=token)
        found += page.sessions
        if not (token := page.next_page_token):
            return found


async def _talk(user: Session, count: int) -> list[Session]:
    """So many sessions of the user, the newest last."""
    sessions = [Session(user.turnkeep, user_id=user.user_id) for _ in range(count)]
    for each in sessions:
        await each.add(message("user", "привет"))
    return sessions


async def test_the_session_spoken_in_last_comes_first(user: Session) -> None:
    """Order is by newest activity, not by creation."""
    first, second, third = await _talk(user, 3)
    await first.chat("ещё")

    assert [each.session_id for each in await _sessions(user)] == [first.id, third.id, second.id]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_pages_join_to_all_sessions(user: Session, size: int) -> None:
    """Whatever the page size, each session once, and no empty page at the end."""
    sessions = await _talk(user, 6)

    listed = [each.session_id for each in await _sessions(user, size)]
    assert listed == [each.id for each in reversed(sessions)]


async def test_a_session_is_listed_with_its_counts_and_times(
    user: Session, model: OpenAIStub
) -> None:
    """Last sequence, messages of completed turns, and the times of the first and last turn."""
    await user.chat("раз")
    model.faults.append(Fault.QUOTA)
    await error_of(user.chat("два"))
    await user.add(*(message("user", str(n)) for n in range(3)))
    (listed,) = await _sessions(user)

    messages = await user.messages()
    assert (listed.session_id, listed.user_id) == (user.id, user.user_id)
    assert (listed.last_sequence, listed.message_count) == (3, 5)
    assert listed.create_time == messages[0].create_time
    assert listed.update_time == messages[-1].create_time


async def test_a_session_whose_only_turn_failed_is_listed(user: Session, model: OpenAIStub) -> None:
    """The question was kept, so its session can be found."""
    model.faults.append(Fault.QUOTA)
    await error_of(user.chat("раз"))
    (listed,) = await _sessions(user)

    assert (listed.last_sequence, listed.message_count) == (1, 0)


async def test_users_are_apart(user: Session) -> None:
    """The same session_id under two users is two sessions, and "" is a user of its own."""
    other = Session(user.turnkeep, user.id, user_id=new_id("u"))
    nobody = Session(user.turnkeep, user.id, user_id="")
    for each in (user, other, nobody):
        await each.chat(f"я {each.user_id}")

    for each in (user, other):
        (listed,) = await _sessions(each)
        assert (listed.session_id, listed.user_id) == (user.id, each.user_id)
        assert (await each.messages())[0].text == f"я {each.user_id}"
    assert (await nobody.messages())[0].text == "я "
    mine = [each for each in await _sessions(nobody) if each.session_id == user.id]
    assert [each.user_id for each in mine] == [""]


async def test_a_cleared_session_vanishes_until_it_is_used_again(user: Session) -> None:
    """Afterwards it is listed as of its new first turn."""
    other = (await _talk(user, 1))[0]
    await user.chat("раз")
    await user.clear()
    assert [each.session_id for each in await _sessions(user)] == [other.id]

    await user.add(message("user", "снова"))
    listed = (await _sessions(user))[0]
    assert (listed.session_id, listed.message_count) == (user.id, 1)
    assert listed.create_time == (await user.messages())[0].create_time


async def test_a_page_is_50_unless_asked_otherwise(user: Session) -> None:
    """0 means 50; a negative size is refused by name."""
    await _talk(user, 51)

    first = await _page(user)
    assert len(first.sessions) == 50
    assert len((await _page(user, page_token=first.next_page_token)).sessions) == 1
    error = await error_of(_page(user, page_size=-1))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert list(error.bad_fields) == ["page_size"]


async def test_a_token_is_good_for_its_own_user_alone(user: Session) -> None:
    """Another user's token, or none at all, is INVALID_ARGUMENT naming page_token."""
    await _talk(user, 3)
    token = (await _page(user, page_size=2)).next_page_token
    await user.add(message("user", "раз"), message("user", "два"))
    messages_token = (await user.page(page_size=1)).next_page_token
    for call in (
        _page(user, user_id=new_id("u"), page_token=token),
        _page(user, page_token=messages_token),
        _page(user, page_token="🌧"),
    ):
        error = await error_of(call)
        assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert list(error.bad_fields) == ["page_token"]


async def test_activity_between_pages_does_not_double_a_session(user: Session) -> None:
    """A session that moves to the front while its user pages is not listed again behind."""
    sessions = await _talk(user, 5)
    first = await _page(user, page_size=2)
    await sessions[4].chat("ещё")
    rest = await _page(user, page_size=50, page_token=first.next_page_token)

    listed = [each.session_id for each in (*first.sessions, *rest.sessions)]
    assert listed == [each.id for each in reversed(sessions)]
