"""Two tenants with the same user, session and request ids: neither sees or touches the other's."""

import asyncio
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub
from tests.kit.rpcs import METHODS, bearer, called, request_of
from tests.kit.server_process import ServerProcess
from tests.kit.status import CallError, call_error, error_of
from tests.rpc.session import new_id
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.credentials.keys import new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_PERMITTED = (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")
USER = "виктор".encode().hex()
KEYS = {
    tenant: new_key(tenant=tenant, role="admin") for tenant in ("acme", "globex", "acm", "acme2")
}
PINNED = new_key(tenant="acme", role="admin", user_id="alice")
# What differs between two answers that say the same.
_OWN = {"id", "create_time", "update_time", "session_id", "request_id"}


class Tenant:
    """Calls with the key of a tenant, or of one of its users."""

    def __init__(self, server: ServerProcess, key: str) -> None:
        self._server = server
        self._key = key

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Made in the event loop that the calls are made in."""
        return self._server.stub()[0]

    async def call(self, method: str, request: Any) -> list[Any]:
        """The answers of a call."""
        return await called(self._channel, method, request, bearer(self._key))

    async def outcome(self, method: str, request: Any) -> object:
        """What a caller can tell from a call, but for ids and times."""
        try:
            return [_plain(each) for each in await self.call(method, request)]
        except grpc.aio.AioRpcError as error:
            return call_error(error)

    async def texts(self, session_id: str) -> list[str]:
        """A session's messages, of turns that ended without a reply, too."""
        request = pb.ListMessagesRequest(
            session_id=session_id, user_id=USER, include_unfinished=True
        )
        (page,) = await self.call("ListMessages", request)
        return [each.text for each in page.messages]


def _plain(message: Any) -> object:
    """A message's fields, but for ids and times."""
    return {
        field.name: [_plain(each) for each in value]
        if isinstance(value, (list, tuple)) or hasattr(value, "add")
        else _plain(value)
        if hasattr(value, "ListFields")
        else value
        for field, value in message.ListFields()
        if field.name not in _OWN
    } or type(message).__name__


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server of several tenants, over the real mongod."""
    file = tmp_path_factory.mktemp("tenants") / "keys"
    file.write_text("\n".join(line for _, line in (*KEYS.values(), PINNED)))
    async with ServerProcess({**environment, "TURNKEEP_KEYS_FILE": str(file)}) as server:
        yield server


@pytest.fixture
def acme(shared: ServerProcess, model: OpenAIStub) -> Tenant:
    """One tenant."""
    return Tenant(shared, KEYS["acme"][0])


@pytest.fixture
def globex(shared: ServerProcess) -> Tenant:
    """Another one."""
    return Tenant(shared, KEYS["globex"][0])


def _said(method: str, session_id: str, text: str, **fields: Any) -> Any:
    request = request_of(method, session_id, USER, text)
    for name, value in fields.items():
        setattr(request, name, value)
    return request


async def _filled(tenant: Tenant, session_id: str, turns: int = 2) -> list[str]:
    for number in range(turns):
        request = _said("Chat", session_id, f"секрет {number} 秘密", request_id=f"r-{number}")
        await tenant.call("Chat", request)
    return await tenant.texts(session_id)


@pytest.mark.parametrize("method", METHODS)
async def test_no_rpc_reads_or_writes_across(
    acme: Tenant, globex: Tenant, shared: ServerProcess, model: OpenAIStub, method: str
) -> None:
    """The other tenant's call finds an empty session, exactly as where nobody has one."""
    session_id = new_id()
    before = await _filled(acme, session_id)
    sessions = await acme.outcome("ListSessions", request_of("ListSessions", "", USER))
    model.calls.clear()
    others = [globex, *(Tenant(shared, KEYS[each][0]) for each in ("acm", "acme2"))]
    for number, other in enumerate(others):
        there = await other.outcome(method, _said(method, session_id, "?"))
        nowhere = await other.outcome(method, _said(method, new_id(), "?"))
        # Of its own sessions there are more by now; of acme's there are none.
        assert there == nowhere or method == "ListSessions", number

    assert "секрет" not in str(there) + str(model.inputs)
    assert await acme.texts(session_id) == before
    assert sessions == await acme.outcome("ListSessions", request_of("ListSessions", "", USER))


async def test_the_model_sees_one_tenant_alone(
    acme: Tenant, globex: Tenant, model: OpenAIStub
) -> None:
    """What goes to it of a session is that tenant's history."""
    session_id = new_id()
    await _filled(acme, session_id)
    await globex.call("Chat", _said("Chat", session_id, "Что ты помнишь?"))

    assert [text for _, text in model.inputs[-1]][1:] == ["Что ты помнишь?"]


async def test_sessions_are_listed_of_one_tenant(acme: Tenant, globex: Tenant) -> None:
    """Of the same user_id."""
    ours, theirs = new_id(), new_id()
    await _filled(acme, ours)
    await _filled(globex, theirs)
    for tenant, own, other in ((acme, ours, theirs), (globex, theirs, ours)):
        request = pb.ListSessionsRequest(user_id=USER, page_size=1_000)
        (page,) = await tenant.call("ListSessions", request)
        found = {each.session_id for each in page.sessions}
        assert own in found
        assert other not in found


async def test_clearing_clears_ones_own(acme: Tenant, globex: Tenant) -> None:
    """And counts what was one's own."""
    session_id = new_id()
    before = await _filled(acme, session_id)
    (cleared,) = await globex.call("ClearSession", _said("ClearSession", session_id, ""))

    assert (cleared.cleared_messages, cleared.cleared_turns) == (0, 0)
    assert await acme.texts(session_id) == before


async def test_a_request_id_is_a_tenants_own(
    acme: Tenant, globex: Tenant, model: OpenAIStub
) -> None:
    """The other's answer is not replayed, its content not compared, its running turn not joined."""
    session_id = new_id()
    await acme.call("Chat", _said("Chat", session_id, "раз", request_id="same"))
    (same,) = await globex.call("Chat", _said("Chat", session_id, "раз", request_id="same"))
    assert (same.sequence, same.replayed) == (1, False)

    session_id = new_id()
    await acme.call("Chat", _said("Chat", session_id, "раз", request_id="same"))
    (other,) = await globex.call("Chat", _said("Chat", session_id, "два", request_id="same"))
    assert (other.sequence, other.replayed) == (1, False)


async def test_a_running_turn_is_in_nobody_elses_way(
    acme: Tenant, globex: Tenant, model: OpenAIStub
) -> None:
    """Neither the queue of the process nor the store has one tenant wait for another."""
    session_id = new_id()
    released = asyncio.Event()

    async def gate(_: object) -> None:
        await released.wait()

    model.gate = gate
    running = asyncio.create_task(acme.call("Chat", _said("Chat", session_id, "медленно")))
    async with asyncio.timeout(10):
        while not model.calls:
            await asyncio.sleep(0.01)
    refused = _said("AddMessages", session_id, "!", on_conflict=pb.CONFLICT_POLICY_REJECT)
    assert (await error_of(acme.call("AddMessages", refused))).reason == "SESSION_BUSY"
    (added,) = await globex.call("AddMessages", refused)
    assert added.sequence == 1
    await globex.call("ClearSession", _said("ClearSession", session_id, ""))
    released.set()
    (answer,) = await running
    assert answer.sequence == 1
    assert (await acme.texts(session_id))[0] == "медленно"


@pytest.mark.parametrize("method", ["ListMessages", "ListSessions"])
async def test_a_page_token_is_a_tenants_own(acme: Tenant, globex: Tenant, method: str) -> None:
    """Another's is refused, whether there is such data or not."""
    session_id = new_id()
    await _filled(acme, session_id)
    await _filled(acme, new_id())
    (page,) = await acme.call(method, _said(method, session_id, "", page_size=1))
    assert page.next_page_token
    request = _said(method, session_id, "", page_size=1, page_token=page.next_page_token)
    assert await acme.call(method, request)
    empty = await error_of(globex.call(method, request))
    await _filled(globex, session_id)
    full = await error_of(globex.call(method, request))

    assert empty.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert empty == full


@pytest.mark.parametrize("method", METHODS)
async def test_who_is_held_to_one_user_learns_nothing_of_others(
    acme: Tenant, shared: ServerProcess, method: str
) -> None:
    """The same NOT_PERMITTED, byte for byte, for another's session and for none."""
    session_id = new_id()
    before = await _filled(acme, session_id)
    alice = Tenant(shared, PINNED[0])
    errors: list[CallError] = []
    for each, user_id in ((session_id, USER), (new_id(), USER), (session_id, new_id("u"))):
        errors.append(await error_of(alice.call(method, request_of(method, each, user_id))))

    assert errors[0].what == NOT_PERMITTED
    assert errors[0] == errors[1] == errors[2]
    assert await acme.texts(session_id) == before


async def test_who_is_held_to_one_user_need_not_name_it(
    acme: Tenant, shared: ServerProcess
) -> None:
    """An empty user_id is that user; the tenant's nameless user stays out of reach."""
    session_id, alice = new_id(), Tenant(shared, PINNED[0])
    await acme.call("Chat", request_of("Chat", session_id, "", "ничей"))
    await alice.call("Chat", request_of("Chat", session_id, "", "это Алиса"))
    await alice.call("Chat", request_of("Chat", session_id, "alice", "это она же"))

    (page,) = await acme.call("ListMessages", request_of("ListMessages", session_id, "alice"))
    assert [each.text for each in page.messages][::2] == ["это Алиса", "это она же"]
    (page,) = await acme.call("ListMessages", request_of("ListMessages", session_id, ""))
    assert [each.text for each in page.messages][::2] == ["ничей"]


async def test_tenants_at_once_keep_their_own(acme: Tenant, globex: Tenant) -> None:
    """Turns of both, mixed, on one session id: each history holds its own and all of it."""
    session_id = new_id()
    said = [
        (tenant, f"{name}-{n}") for n in range(8) for name, tenant in (("a", acme), ("g", globex))
    ]
    await asyncio.gather(
        *(tenant.call("StreamChat", _said("StreamChat", session_id, text)) for tenant, text in said)
    )
    for name, tenant in (("a", acme), ("g", globex)):
        questions = (await tenant.texts(session_id))[::2]
        assert sorted(questions) == sorted(f"{name}-{n}" for n in range(8))
