"""Traces: a call is one tree of spans, in its caller's trace, and says nothing that was said."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.otlp_sink import OtlpSink, Span
from tests.kit.ports import bound_socket
from tests.kit.scrape import scraped
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.kit.tenants import as_tenant, keys_file
from tests.rpc.session import TIMEOUT_SECONDS, Session, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "КАНАРЕЙКА"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED_CHAIN = """
from langchain_core.runnables import RunnableLambda
from opentelemetry import trace

async def answer(given):
    with trace.get_tracer("own").start_as_current_span("retrieve"):
        return "ответ"

def build():
    return RunnableLambda(answer)
"""
SERVICE = "turnkeep.v1.ConversationService"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sink() -> AsyncIterator[OtlpSink]:
    """A collector."""
    async with OtlpSink() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(environment: dict[str, str], sink: OtlpSink) -> AsyncIterator[ServerProcess]:
    """A server that tells the collector of every call."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, **SOON}
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(traced: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(traced.stub()[1])


async def _trace(sink: OtlpSink, session: Session, nth: int = 1) -> tuple[Span, list[Span]]:
    """The nth call of a session that was traced: its span, and those under it as they began."""

    def wanted(span: Span) -> bool:
        return span.kind == "SERVER" and span.attributes.get("gen_ai.conversation.id") == session.id

    async with asyncio.timeout(15):
        while len(found := list(filter(wanted, sink.spans))) < nth:
            await asyncio.sleep(0.02)
    root = found[nth - 1]
    spans = [each for each in sink.spans if each.trace_id == root.trace_id and each is not root]
    return root, sorted(spans, key=lambda each: each.proto.start_time_unix_nano)


async def test_a_turn_is_a_tree_of_spans(session: Session, sink: OtlpSink) -> None:
    """History, context, history, model, history, each under the call and within its time."""
    answer = await session.chat("Привет", options=pb.ModelOptions(temperature=0.5, seed=7))
    root, spans = await _trace(sink, session)

    assert [each.name for each in spans] == [
        "history.tail",
        "context",
        "history.begin",
        "chat gpt-4o-mini",
        "history.commit",
    ]
    assert (root.name, root.kind, root.parent_id) == (f"{SERVICE}/Chat", "SERVER", "")
    assert {each.parent_id for each in spans} == {root.id}
    assert len({each.id for each in (root, *spans)}) == 6
    ends = root.proto.start_time_unix_nano
    for each in spans:
        assert ends <= each.proto.start_time_unix_nano <= each.proto.end_time_unix_nano
        ends = each.proto.end_time_unix_nano
    assert ends <= root.proto.end_time_unix_nano
    assert not any(each.failed for each in (root, *spans))
    assert root.attributes == {
        "turnkeep.tenant": "default",
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/Chat",
        "rpc.response.status_code": "OK",
        "gen_ai.conversation.id": session.id,
        "turnkeep.sequence": 1,
        "turnkeep.replayed": False,
    }
    asked = spans[3]
    response_id = asked.attributes.pop("gen_ai.response.id", "")
    assert asked.kind == "CLIENT"
    assert {**asked.attributes, "gen_ai.response.id": ""} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.conversation.id": session.id,
        "gen_ai.response.id": "",
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
    }
    assert isinstance(response_id, str)
    assert root.resource["service.name"] == "turnkeep"
    assert root.resource["service.version"]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_trace_comes_from_the_caller_and_goes_on_to_the_model(
    session: Session, sink: OtlpSink, model: OpenAIStub, streams: bool
) -> None:
    """W3C trace context, in by the request's metadata, out by the model's HTTP headers."""
    metadata = (("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"), ("tracestate", "vendor=value"))
    request = session.request("Привет")
    if streams:
        call = session.turnkeep.StreamChat(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
        assert [event async for event in call]
    else:
        await session.turnkeep.Chat(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
    root, spans = await _trace(sink, session)
    (asked,) = [each for each in spans if each.kind == "CLIENT" and each.parent_id == root.id]

    assert (root.trace_id, root.parent_id) == (TRACE_ID, SPAN_ID)
    assert model.calls[0].headers["traceparent"] == f"00-{TRACE_ID}-{asked.id}-01"
    assert model.calls[0].headers["tracestate"] == "vendor=value"


async def test_a_caller_who_samples_nothing_is_traced_by_nobody(
    session: Session, sink: OtlpSink, model: OpenAIStub
) -> None:
    """No span here, and the model is told not to make any."""
    metadata = (("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-00"),)
    request = session.request("Раз", request_id=new_id("r"))
    await session.turnkeep.Chat(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
    await session.chat("Два")
    root, _ = await _trace(sink, session)

    assert root.attributes["turnkeep.sequence"] == 2
    sent = model.calls[0].headers["traceparent"]
    assert sent.startswith(f"00-{TRACE_ID}-")
    assert sent.endswith("-00")


@pytest.mark.parametrize("header", ["", "rubbish", f"00-{'0' * 32}-{SPAN_ID}-01", "ы" * 600])
async def test_a_trace_that_is_none_begins_here(
    session: Session, sink: OtlpSink, header: str
) -> None:
    """Whatever the caller sends, he is served."""
    key = "traceparent" if header.isascii() else "traceparent-bin"
    metadata = ((key, header if header.isascii() else header.encode()),)
    request = session.request("Привет")
    await session.turnkeep.Chat(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
    root, _ = await _trace(sink, session)

    assert root.parent_id == ""
    assert root.trace_id not in {TRACE_ID, "0" * 32}


async def test_a_stream_tells_of_its_first_chunk(
    session: Session, sink: OtlpSink, model: OpenAIStub
) -> None:
    """And its model's span ends with the last."""
    model.delta_delay_seconds = 0.02
    answer = (await session.streamed("Привет"))[-1].completed
    root, spans = await _trace(sink, session)
    asked = next(each for each in spans if each.kind == "CLIENT")
    lasted = (asked.proto.end_time_unix_nano - asked.proto.start_time_unix_nano) / 1e9

    assert root.name == f"{SERVICE}/StreamChat"
    assert asked.attributes["gen_ai.request.stream"] is True
    assert 0.02 <= asked.attributes["gen_ai.response.time_to_first_chunk"] < lasted
    assert asked.attributes["gen_ai.usage.output_tokens"] == answer.usage.output_tokens
    assert asked.attributes["gen_ai.response.model"] == "gpt-4o-mini"
    assert asked.attributes["gen_ai.response.finish_reasons"] == ["stop"]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_failure_has_a_reason_and_no_text(
    session: Session, sink: OtlpSink, model: OpenAIStub, streams: bool
) -> None:
    """Each try of the model is a span of its own; what ended the turn is on the call's."""
    model.always(Fault.SERVER_ERROR)
    await error_of(session.streamed("Привет") if streams else session.chat("Привет"))
    root, spans = await _trace(sink, session)
    tries = [each for each in spans if each.kind == "CLIENT"]

    assert len(tries) == len({each.id for each in tries}) == 3
    assert {each.attributes["error.type"] for each in tries} == {"MODEL_UNAVAILABLE"}
    assert all(each.failed and not each.events for each in tries)
    assert root.failed
    assert root.attributes["error.type"] == "MODEL_UNAVAILABLE"
    assert root.attributes["rpc.response.status_code"] == "UNAVAILABLE"
    assert spans[-1].name == "history.fail"
    assert not spans[-1].failed
    assert {each.proto.status.message for each in (root, *spans)} == {""}


async def test_a_stream_that_breaks_off_fails_its_models_span(
    session: Session, sink: OtlpSink, model: OpenAIStub
) -> None:
    """Though what had come of it was passed on."""
    model.faults.append(Fault.EARLY_END)
    await error_of(session.streamed("Привет"))
    _, spans = await _trace(sink, session)
    (asked,) = [each for each in spans if each.kind == "CLIENT"]

    assert asked.failed
    assert asked.attributes["error.type"] == "MODEL_STREAM_BROKEN"


async def test_a_caller_at_fault_is_no_failure_of_the_server(
    session: Session, sink: OtlpSink
) -> None:
    """The reason is told; the span's status is not an error."""
    await session.chat("Привет")
    await error_of(session.chat("Привет", expected_sequence=9))
    root, _ = await _trace(sink, session, nth=2)

    assert root.attributes["error.type"] == "SEQUENCE_MISMATCH"
    assert root.attributes["rpc.response.status_code"] == "ABORTED"
    assert not root.failed


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_caller_who_hangs_up_is_cancelled_and_no_error(
    session: Session, sink: OtlpSink, model: OpenAIStub, streams: bool
) -> None:
    """The model's span says when it was given up."""
    model.delta_delay_seconds = 0.3
    model.delay_seconds = 0.0 if streams else 5.0
    if streams:
        call = session.stream("Привет")
        await call.read()
        await call.read()
        call.cancel()
    else:
        task = asyncio.create_task(session.chat("Привет"))
        await model.arrived(1)
        task.cancel()
    root, spans = await _trace(sink, session)
    (asked,) = [each for each in spans if each.kind == "CLIENT"]

    assert root.attributes["rpc.response.status_code"] == "CANCELLED"
    assert asked.attributes["error.type"] == "CANCELLED"
    assert not root.failed
    assert not asked.failed


async def test_a_replay_asks_no_model(session: Session, sink: OtlpSink) -> None:
    """The tail is read, and that is all."""
    request_id = new_id("r")
    await session.chat("Привет", request_id=request_id)
    await session.chat("Привет", request_id=request_id)
    root, spans = await _trace(sink, session, nth=2)

    assert root.attributes["turnkeep.replayed"] is True
    assert [each.name for each in spans] == ["history.tail"]


async def test_waiting_for_the_session_is_seen(
    session: Session, sink: OtlpSink, model: OpenAIStub
) -> None:
    """As long as the turn ahead takes."""
    model.delay_seconds = 0.3
    await asyncio.gather(session.chat("Раз"), session.chat("Два"))
    _, spans = await _trace(sink, session, nth=2)

    assert next(each.name for each in spans) == "session.wait"


async def test_the_log_line_has_the_trace(
    session: Session, sink: OtlpSink, traced: ServerProcess
) -> None:
    """So that whoever reads one finds the other."""
    request_id = new_id("r")
    await session.chat("Привет", request_id=request_id)
    root, _ = await _trace(sink, session)
    (line,) = [json.loads(each) for each in traced.log if f'"request_id": "{request_id}"' in each]

    assert line["trace_id"] == root.trace_id


async def test_what_an_own_chain_traces_belongs_to_the_call(
    environment: dict[str, str], sink: OtlpSink, tmp_path: Path
) -> None:
    """Spans that it makes by OpenTelemetry's API are exported, under the model's span."""
    (tmp_path / "traced_chain.py").write_text(TRACED_CHAIN)
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "TURNKEEP_CHAIN": "traced_chain:build",
        "TURNKEEP_HISTORY_URL": "memory://",
        "PYTHONPATH": str(tmp_path),
        **SOON,
    }
    async with ServerProcess({**environment, **settings}) as server:
        for n, streams in enumerate((False, True)):
            session = Session(server.stub()[1])
            await (session.streamed("Привет") if streams else session.chat("Привет"))
            root, spans = await _trace(sink, session)
            async with asyncio.timeout(10):
                while len(inner := [e for e in sink.spans if e.name == "retrieve"]) <= n:
                    await asyncio.sleep(0.02)
            (asked,) = [each for each in spans if each.kind == "CLIENT"]
            assert (inner[n].trace_id, inner[n].parent_id) == (root.trace_id, asked.id)


async def test_a_stranger_makes_no_span_whatever_he_says(
    environment: dict[str, str], sink: OtlpSink, tmp_path: Path
) -> None:
    """A call that says it is sampled is, if a credential says whose it is; metrics count both."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "TURNKEEP_KEYS_FILE": str(keys_file(tmp_path, "acme")),
        "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        **SOON,
    }
    async with ServerProcess({**environment, **settings}) as server:
        stub = server.stub()[1]

        async def lists(trace_id: str, *credential: tuple[str, str]) -> Any:
            traced = ("traceparent", f"00-{trace_id}-{SPAN_ID}-01")
            request = pb.ListSessionsRequest()
            return await stub.ListSessions(request, timeout=20, metadata=(traced, *credential))

        stranger, known = "1" * 32, "2" * 32
        for credential in ((), (("authorization", "Bearer x"),)):
            assert (await error_of(lists(stranger, *credential))).reason == "BAD_CREDENTIALS"
        await lists(known, *as_tenant("acme"))
        async with asyncio.timeout(15):
            while not (found := [each for each in sink.spans if each.trace_id == known]):
                await asyncio.sleep(0.02)
        counted = await scraped(server)

    assert found[-1].attributes["turnkeep.tenant"] == "acme"
    assert not [each for each in sink.spans if each.trace_id == stranger]
    refused = {"code": "UNAUTHENTICATED", "reason": "BAD_CREDENTIALS"}
    assert counted.value("turnkeep_calls_total", **refused) == 2
    assert counted.value("turnkeep_calls_total", code="OK") == 1


async def test_nothing_that_was_said_is_exported(
    session: Session, sink: OtlpSink, model: OpenAIStub
) -> None:
    """Texts, variables, names, tools' arguments, options: no canary, however the call ends."""
    model.reply = lambda _: CANARY
    fields: dict[str, Any] = {
        "variables": {"topic": CANARY},
        "options": pb.ModelOptions(stop=[CANARY]),
        "message": pb.Message(text=CANARY, name=CANARY, metadata={CANARY: CANARY}),
    }
    stub = session.turnkeep
    for call in (Session.chat, Session.streamed):
        # Each meets some of them, and tries again.
        model.faults.extend(Fault)
        calls = (call(Session(stub), timeout=1, **fields) for _ in Fault)
        await asyncio.gather(*calls, return_exceptions=True)
    model.heal()
    await session.chat(**fields)
    last = Session(session.turnkeep)
    await last.chat(**fields)
    await _trace(sink, last)

    sent = b"".join(sink.bodies)
    assert session.id.encode() in sent
    for secret in (CANARY, ascii(CANARY)[1:-1], "Traceback", 'test"'):
        assert secret.encode() not in sent


async def test_summaries_text_and_the_last_spans(
    environment: dict[str, str], mongod: Mongod, model: OpenAIStub
) -> None:
    """A server that may tell what was said does, warns of it, and leaves no span behind.

    One server for three things: a session that is summarised is a trace of its own and is counted;
    TURNKEEP_LOG_TEXT; and spans that wait for their batch are sent in the drain.
    """
    async with OtlpSink() as sink:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_SERVICE_NAME": "чат",
            "TURNKEEP_LOG_TEXT": "1",
            "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
            "TURNKEEP_SUMMARY": "on",
            "TURNKEEP_SUMMARY_AFTER_MESSAGES": "2",
            "TURNKEEP_SUMMARY_DELAY_SECONDS": "0",
            "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
        }
        async with ServerProcess({**environment, **settings}) as server:
            session = Session(server.stub()[1])
            one = pb.ContextPolicy(max_messages=2)
            for text in ("你好", "مرحبا", "👋"):
                await session.chat(text, context=one)
            async with asyncio.timeout(10):
                while not (now := await scraped(server)).value("turnkeep_summaries_total"):
                    await asyncio.sleep(0.05)
            assert sink.spans == []
            server.terminate()
            assert await server.wait() == 0
            log = [json.loads(line) for line in server.log]
        spans = sink.spans

    assert now.value("turnkeep_summaries_total", outcome="written") == 1
    assert now.value("turnkeep_model_calls_total") == 4
    assert now.value("turnkeep_turns_total") == 3
    (summary,) = [each for each in spans if each.name == "summarize"]
    (asked,) = [each for each in spans if each.parent_id == summary.id]
    assert summary.events == [("Summary", {"turnkeep.kind": "written"})]
    assert asked.name == "chat gpt-4o-mini"
    last = [each for each in spans if each.kind == "CLIENT" and each is not asked][-1].attributes
    assert [part["role"] for part in json.loads(last["gen_ai.input.messages"])] == [
        "user",
        "assistant",
        "user",
    ]
    assert json.loads(last["gen_ai.input.messages"])[-1]["parts"][0]["content"] == "👋"
    (said,) = json.loads(last["gen_ai.output.messages"])
    assert said == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "reply to: 👋"}],
        "finish_reason": "stop",
    }
    assert "assistant" in last["gen_ai.system_instructions"]
    assert spans[0].resource["service.name"] == "чат"
    calls = [line for line in log if line["event"] == "call"]
    assert calls[0]["messages"] == [
        {"role": "USER", "text": "你好"},
        {"role": "ASSISTANT", "text": "reply to: 你好"},
    ]
    assert [line["event"] for line in log].count("text_is_logged") == 1


async def test_a_collector_that_is_away_hinders_nobody(
    environment: dict[str, str], model: OpenAIStub
) -> None:
    """Calls are answered, the log says that spans are lost, and the server ends in time."""
    with bound_socket() as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/canary"
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        **SOON,
    }
    async with ServerProcess({**environment, **settings}) as server:
        await Session(server.stub()[1]).chat("Привет")
        async with asyncio.timeout(15):
            while not any("spans_not_exported" in line for line in server.log):
                await asyncio.sleep(0.05)
        server.terminate()
        assert await server.wait() == 0
        assert "canary" not in "\n".join(server.log)


async def test_an_exporter_that_there_is_none_of_ends_the_start(
    environment: dict[str, str],
) -> None:
    """Exit code 2, with the choices."""
    server = ServerProcess({**environment, "OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(RuntimeError, match="exited with 2") as failed:
        await server.start()
    await server.__aexit__(None, None, None)
    assert "OTEL_TRACES_EXPORTER: write one of" in str(failed.value)
