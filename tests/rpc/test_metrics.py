"""Metrics: what happens is counted once, under names out of a closed list, and nothing is said."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.ports import bound_socket
from tests.kit.scrape import Scrape, metrics_url, scraped
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.telemetry.catalogue import CATALOGUE

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "КАНАРЕЙКА"
MOST_CALLS = 6
PRICES = {"input_usd_per_million_tokens": 1e6, "output_usd_per_million_tokens": 1e5}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def counting(environment: dict[str, str], mongod: Mongod) -> AsyncIterator[ServerProcess]:
    """A server that Prometheus may ask."""
    settings = {
        "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        "TURNKEEP_MODEL_FIGURES": json.dumps({"gpt-4o-mini": PRICES}),
        "TURNKEEP_MAX_CONCURRENT_CALLS": str(MOST_CALLS),
    }
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(counting: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(counting.stub()[1])


class Change:
    """What has changed since the test began."""

    def __init__(self, before: Scrape, after: Scrape) -> None:
        self._before, self._after = before, after

    def __call__(self, name: str, **labels: str) -> float:
        return self._after.value(name, **labels) - self._before.value(name, **labels)


@pytest_asyncio.fixture(loop_scope="session")
async def changed(counting: ServerProcess) -> Callable[[], object]:
    """Asks what has changed since now."""
    before = await scraped(counting)

    async def change() -> Change:
        return Change(before, await scraped(counting))

    return change


async def test_a_turn_is_counted_with_its_tokens_and_cost(session: Session, changed) -> None:
    """Call, turn, model and history: once each; tokens and dollars as the reply says."""
    answer = await session.chat("Привет, как дела?")
    change = await changed()

    assert change("turnkeep_calls_total", method="Chat", code="OK", reason="") == 1
    assert change("turnkeep_call_duration_seconds_count", method="Chat") == 1
    assert change("turnkeep_turns_total", model="gpt-4o-mini", status="completed") == 1
    assert change("turnkeep_turn_duration_seconds_count", model="gpt-4o-mini") == 1
    assert change("turnkeep_model_calls_total", model="gpt-4o-mini", outcome="ok") == 1
    assert change("turnkeep_model_duration_seconds_count") == 1
    for operation in ("tail", "begin", "commit"):
        assert change("turnkeep_history_duration_seconds_count", operation=operation) == 1
    of_tenant = {"model": "gpt-4o-mini", "tenant": "default"}
    used = answer.usage
    assert change("turnkeep_tokens_total", kind="input", **of_tenant) == used.input_tokens > 0
    assert change("turnkeep_tokens_total", kind="output", **of_tenant) == used.output_tokens > 0
    cost_usd = used.input_tokens + used.output_tokens / 10
    assert change("turnkeep_cost_usd_total", **of_tenant) == pytest.approx(cost_usd)
    assert change("turnkeep_time_to_first_token_seconds_count") == 0
    assert change("turnkeep_session_wait_seconds_count") == 0


async def test_a_stream_tells_when_its_first_token_came(
    session: Session, changed, model: OpenAIStub
) -> None:
    """After the model's delay, and before the end."""
    model.delta_delay_seconds = 0.05
    await session.streamed("Привет", options=pb.ModelOptions(model="gpt-4o"))
    change = await changed()

    first = change("turnkeep_time_to_first_token_seconds_sum", model="gpt-4o")
    assert change("turnkeep_time_to_first_token_seconds_count", model="gpt-4o") == 1
    assert 0.05 <= first < change("turnkeep_turn_duration_seconds_sum", model="gpt-4o")
    assert change("turnkeep_calls_total", method="StreamChat", code="OK") == 1
    assert change("turnkeep_cost_usd_total", model="gpt-4o") == 0  # no price


async def test_a_failed_turn_counts_each_try_and_the_reason(
    session: Session, changed, model: OpenAIStub
) -> None:
    """Three tries of the model, one failed turn, its code and reason."""
    model.always(Fault.SERVER_ERROR)
    await error_of(session.chat("Привет"))
    change = await changed()

    assert change("turnkeep_calls_total", code="UNAVAILABLE", reason="MODEL_UNAVAILABLE") == 1
    assert change("turnkeep_turns_total", status="failed") == 1
    assert change("turnkeep_model_calls_total", outcome="MODEL_UNAVAILABLE") == 3
    assert change("turnkeep_history_duration_seconds_count", operation="fail") == 1
    assert change("turnkeep_turn_duration_seconds_count") == 0
    assert change("turnkeep_tokens_total") == 0


async def test_a_replay_is_a_replay_and_no_turn(session: Session, changed) -> None:
    """A request that was completed before costs no tokens again."""
    request_id = new_id("r")
    first = await session.chat("Привет", request_id=request_id)
    again = await session.chat("Привет", request_id=request_id)
    change = await changed()

    assert (first.replayed, again.replayed) == (False, True)
    assert change("turnkeep_replays_total") == 1
    assert change("turnkeep_calls_total", method="Chat") == 2
    assert change("turnkeep_turns_total") == change("turnkeep_model_calls_total") == 1
    assert change("turnkeep_tokens_total", kind="input") == first.usage.input_tokens


async def test_waits_joins_and_conflicts_are_told_apart(
    session: Session, changed, model: OpenAIStub
) -> None:
    """One waits for another's turn, one for its own first attempt, one is refused."""
    model.delay_seconds = 0.3
    request_id = new_id("r")
    first = asyncio.create_task(session.chat("Раз", request_id=request_id))
    await model.arrived(1)
    repeated = asyncio.create_task(session.chat("Раз", request_id=request_id))
    waiting = asyncio.create_task(session.chat("Два"))
    refused = await error_of(session.chat("Три", on_conflict=pb.CONFLICT_POLICY_REJECT))
    await asyncio.gather(first, repeated, waiting)
    stale = await error_of(session.chat("Четыре", expected_sequence=1))
    change = await changed()

    assert (refused.reason, stale.reason) == ("SESSION_BUSY", "SEQUENCE_MISMATCH")
    assert change("turnkeep_joins_total") == 1
    assert change("turnkeep_replays_total") == 1
    assert change("turnkeep_session_wait_seconds_count") == 2
    assert 0.2 < change("turnkeep_session_wait_seconds_sum") < 5
    assert change("turnkeep_conflicts_total", kind="SESSION_BUSY") == 1
    assert change("turnkeep_conflicts_total", kind="SEQUENCE_MISMATCH") == 1


async def test_a_caller_who_hangs_up_is_cancelled(
    session: Session, changed, model: OpenAIStub
) -> None:
    """Its call, its turn and the model's call."""
    model.delay_seconds = 5
    call = asyncio.create_task(session.chat("Привет"))
    await model.arrived(1)
    call.cancel()
    async with asyncio.timeout(5):
        while not (change := await changed())("turnkeep_turns_total", status="cancelled"):
            await asyncio.sleep(0.05)

    assert change("turnkeep_calls_total", method="Chat", code="CANCELLED", reason="") == 1
    assert change("turnkeep_model_calls_total", outcome="CANCELLED") == 1


async def test_what_does_not_fit_the_window_is_counted(session: Session, changed) -> None:
    """Two turns of history, a window of one."""
    for text in ("Раз", "Два"):
        await session.chat(text)
    await session.chat("Три", context=pb.ContextPolicy(max_messages=2))
    change = await changed()

    assert change("turnkeep_context_omissions_total", summary="none") == 1
    assert change("turnkeep_context_omitted_messages_total") == 2


async def test_calls_that_run_and_calls_that_are_refused(
    session: Session, counting: ServerProcess, changed, model: OpenAIStub
) -> None:
    """As many as are served; whoever comes beyond the limit is counted though never read."""
    model.delay_seconds = 1.0
    stub = session.turnkeep
    running = [asyncio.create_task(Session(stub).chat("Привет")) for _ in range(MOST_CALLS)]
    await model.arrived(MOST_CALLS)
    refused = await error_of(Session(stub).chat("Привет"))
    now = await scraped(counting)
    await asyncio.gather(*running)
    change = await changed()

    assert refused.reason == "OVERLOADED"
    assert change("turnkeep_refusals_total", limit="concurrent_calls") == 1
    assert change("turnkeep_refusals_total") == 1
    assert now.value("turnkeep_calls_running") == MOST_CALLS
    assert now.value("turnkeep_leases_held") == MOST_CALLS
    assert (await scraped(counting)).value("turnkeep_leases_held") == 0
    assert (
        change(
            "turnkeep_calls_total", code="RESOURCE_EXHAUSTED", reason="OVERLOADED", method="Chat"
        )
        == 1
    )


async def test_refusals_are_told_by_the_limit_wherever_they_are_decided(
    environment: dict[str, str], model: OpenAIStub
) -> None:
    """The first of a kind behind auth, those after it at the door; each once."""
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        "TURNKEEP_TENANT_REQUESTS_PER_SECOND": "0.0001",
        "TURNKEEP_TENANT_REQUEST_BURST": "2",
        "TURNKEEP_TENANT_CONCURRENT_TURNS": "1",
        "TURNKEEP_TENANT_TOKENS_PER_DAY": "1",
    }
    async with ServerProcess({**environment, **settings}) as server:
        fresh = await scraped(server)
        session = Session(server.stub()[1])
        model.delay_seconds = 1.0
        running = asyncio.create_task(session.chat("Привет"))
        await model.arrived(1)
        for _ in range(2):
            await error_of(Session(session.turnkeep).chat("你好"))  # concurrent_turns
        await running
        for _ in range(3):
            await error_of(session.chat("مرحبا"))  # tokens_per_day
        await session.page()
        for _ in range(4):
            await error_of(session.page())  # requests_per_second
        now = await scraped(server)

    expected = {
        "concurrent_calls": 0,
        "concurrent_turns": 2,
        "tokens_per_day": 3,
        "requests_per_second": 4,
    }
    told = [name for name, _ in fresh.samples if name == "turnkeep_refusals_total"]
    assert len(told) == len(expected)
    for limit, refusals in expected.items():
        assert fresh.value("turnkeep_refusals_total", limit=limit) == 0
        assert now.value("turnkeep_refusals_total", limit=limit) == refusals, limit


async def test_the_server_tells_how_it_does(session: Session, counting: ServerProcess) -> None:
    """The store is up, with connections; not draining; one process, of a version."""
    await session.add(message("user", "Привет"))
    await session.page()
    await session.clear()
    now = await scraped(counting)

    assert now.value("turnkeep_history_up") == now.value("turnkeep_workers") == 1
    assert now.value("turnkeep_build_info") == 1
    assert now.value("turnkeep_draining") == now.value("turnkeep_calls_running") == 0
    idle, in_use = (
        now.value("turnkeep_history_connections", state=state) for state in ("idle", "in_use")
    )
    assert idle > 0
    assert 0 <= in_use < MOST_CALLS
    assert now.value("turnkeep_history_operations_waiting") == 0
    for operation in ("append", "list_messages", "clear"):
        assert now.value("turnkeep_history_duration_seconds_count", operation=operation) > 0


async def test_nothing_that_a_caller_makes_up_becomes_a_label(
    session: Session, counting: ServerProcess, model: OpenAIStub
) -> None:
    """No text, no id, no model that is not allowed; no more series for more sessions."""
    model.reply = lambda _: f"{CANARY}-ответ"
    await session.chat(CANARY, request_id="canary-request")
    before = await scraped(counting)
    for n in range(3):
        other = Session(session.turnkeep, session_id=f"canary-{n}", user_id=f"canary-user-{n}")
        await other.chat(CANARY)
        await error_of(other.chat(CANARY, prompt="canary-prompt"))
        await error_of(other.chat(CANARY, options=pb.ModelOptions(model="canary-model")))
    after = await scraped(counting)

    assert CANARY not in after.text
    assert "canary" not in after.text
    assert len(after.samples) <= len(before.samples) + 2  # the two reasons, once each


async def test_every_metric_of_the_catalogue_is_exposed_and_no_other(
    session: Session, counting: ServerProcess
) -> None:
    """Names and labels, as docs/metrics.md tells them."""
    now = await scraped(counting)
    typed = {line.split()[2]: line.split()[3] for line in now.text.splitlines() if "# TYPE" in line}

    ours = {name: kind for name, kind in typed.items() if name.startswith("turnkeep_")}
    assert ours == {name: each.kind.value for name, each in CATALOGUE.items()}
    assert all(name.startswith("process_") for name in typed.keys() - ours.keys())
    for name, metric in CATALOGUE.items():
        for sample in now.names:
            if sample in {name, f"{name}_count", f"{name}_sum", f"{name}_bucket"}:
                assert now.labels_of(sample) - {"le"} == set(metric.labels), sample


async def test_a_metrics_port_that_is_taken_is_told(
    environment: dict[str, str],
) -> None:
    """Exit code 1, and which variable to change."""
    with bound_socket() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = ServerProcess({**environment, "TURNKEEP_METRICS_LISTEN": address})
        with pytest.raises(RuntimeError, match="exited with 1") as failed:
            await server.start()
        await server.__aexit__(None, None, None)
    assert "TURNKEEP_METRICS_LISTEN" in str(failed.value)


async def test_a_fresh_server_tells_what_alerts_wait_for(environment: dict[str, str]) -> None:
    """At 0: Prometheus sees no increase in a series that is born at 1."""
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        "TURNKEEP_MODEL": "gpt-4o-mini",
        "TURNKEEP_ALLOWED_MODELS": "gpt-4o",
        "TURNKEEP_SUMMARY_MODEL": "gpt-4.1-nano",
    }
    async with ServerProcess({**environment, **settings}) as server:
        fresh = await scraped(server)
    zeros = {
        (name, *sorted(labels)) for (name, labels), value in fresh.samples.items() if not value
    }
    for method in pb.DESCRIPTOR.services_by_name["ConversationService"].methods:
        labels = [("code", "INTERNAL"), ("method", method.name), ("reason", "INTERNAL")]
        assert ("turnkeep_calls_total", *labels) in zeros
    for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1-nano"):
        labels = [("model", model), ("outcome", "MODEL_QUOTA_EXHAUSTED")]
        assert ("turnkeep_model_calls_total", *labels) in zeros


async def test_without_the_setting_nothing_is_answered(server: ServerProcess) -> None:
    """No port, and no word of one."""
    with pytest.raises(AssertionError):
        metrics_url(server)


async def test_draining_is_told_while_it_lasts(
    environment: dict[str, str], model: OpenAIStub
) -> None:
    """The port answers until the last call is done."""
    model.delay_seconds = 1.0
    settings = {"TURNKEEP_METRICS_LISTEN": "127.0.0.1:0", "TURNKEEP_LAME_DUCK_SECONDS": "0"}
    async with ServerProcess({**environment, **settings}) as server:
        call = asyncio.create_task(Session(server.stub()[1]).chat("Привет"))
        await model.arrived(1)
        server.terminate()
        await asyncio.sleep(0.2)
        now = await scraped(server)
        late = await error_of(Session(server.stub()[1]).chat("Привет"))
        answer = await call
        assert await server.wait() == 0

    assert answer.message.text
    assert now.value("turnkeep_draining") == now.value("turnkeep_calls_running") == 1
    assert late.code is grpc.StatusCode.UNAVAILABLE
