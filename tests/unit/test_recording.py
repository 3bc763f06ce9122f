"""The record of a call: what is noted in it, by whom, and what it costs where nobody listens."""

import asyncio
import gc
import subprocess
import sys
from weakref import WeakSet

import pytest

from turnkeep_server.errors import ModelTimeout
from turnkeep_server.recording import Recorder, blame, happened, note, step, trace_headers
from turnkeep_server.records import CANCELLED, Record, Trace

TRACE = Trace(trace_id=0xAB, span_id=0xC, parent_id=None, sampled=True, state="a=b")


class Kept:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refusals: list[tuple[str, str, str, str]] = []

    def ended(self, record: Record) -> None:
        self.records.append(record)

    def refused(self, method: str, code: str, reason: str, limit: str) -> None:
        self.refusals.append((method, code, reason, limit))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def recorder(kept: Kept) -> Recorder:
    made = Recorder()
    made.listen(kept, lambda name, metadata: TRACE)
    return made


async def test_what_happens_in_a_call_is_told_when_it_is_over(
    recorder: Recorder, kept: Kept
) -> None:
    """Steps, happenings and facts; and only after the block, once the loop goes on."""
    with recorder.recording("Chat") as record:
        with step("a", x=1) as a:
            a.note(y=2)
        happened("conflict", "X")
        note(model="m")
        blame("BUSY")
    assert kept.records == []
    async with asyncio.timeout(5):
        while not kept.records:
            await asyncio.sleep(0.01)

    assert kept.records == [record]
    assert [(each.name, each.facts, each.error) for each in record.steps] == [
        ("a", {"x": 1, "y": 2}, "")
    ]
    assert [each[:2] for each in record.happenings] == [("conflict", "X")]
    assert (record.facts, record.reason) == ({"model": "m"}, "BUSY")
    assert record.ended_ns >= record.steps[0].ended_ns >= record.steps[0].began_ns


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ModelTimeout("too late"), "MODEL_TIMEOUT"),
        (ValueError("secret"), "ValueError"),
        (asyncio.CancelledError(), CANCELLED),
        (GeneratorExit(), CANCELLED),
    ],
)
async def test_a_step_that_failed_has_a_name_for_it_and_no_text(
    recorder: Recorder, error: BaseException, name: str
) -> None:
    """A reason of ours, or a class."""
    with recorder.recording("Chat") as record, pytest.raises(type(error)), step("a"):
        raise error
    assert [each.error for each in record.steps] == [name]


async def test_calls_beside_each_other_keep_apart_and_tasks_belong_to_theirs(
    recorder: Recorder, kept: Kept
) -> None:
    """Each has its own record, in the tasks that it begins, too."""

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        with step(name):
            await asyncio.sleep(0)

    async def call(name: str) -> None:
        with recorder.recording(name):
            await asyncio.create_task(work(name))

    await asyncio.gather(call("a"), call("b"))
    recorder.tell()
    assert {each.name: [s.name for s in each.steps] for each in kept.records} == {
        "a": ["a"],
        "b": ["b"],
    }


async def test_the_model_is_told_which_step_asks(recorder: Recorder) -> None:
    """The one that began last; outside of a call there is none."""
    assert trace_headers() == {}
    with recorder.recording("Chat"), step("model") as asked:
        headers = trace_headers()
    assert headers == {
        "traceparent": f"00-{'0' * 30}ab-{asked.span_id:016x}-01",
        "tracestate": "a=b",
    }


async def test_where_nobody_listens_nothing_is_kept() -> None:
    """All of it may be said, and nothing comes of it."""
    with Recorder().recording("Chat") as record:
        with step("a") as a:
            a.note(x=1)
            a.first_token()
        happened("x")
        note(x=1)
        blame("X")
        assert trace_headers() == {}
        assert not a.heard
    assert (record.steps, record.facts, record.happenings) == ([], {}, [])


async def test_a_listeners_mistake_ends_no_call(kept: Kept) -> None:
    """The event loop logs it; the next listener is told all the same."""

    class Broken(Kept):
        def ended(self, record: Record) -> None:
            raise RuntimeError("a bug")

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    recorder = Recorder()
    recorder.listen(Broken())
    recorder.listen(kept)
    for _ in range(2):
        with recorder.recording("Chat"):
            pass
    recorder.tell()
    assert len(told) == len(kept.records) == 2


async def test_many_calls_are_told_together_and_each_once(recorder: Recorder, kept: Kept) -> None:
    """Soon if they are many, without waiting for the timer."""
    for n in range(200):
        with recorder.recording(str(n)):
            pass
    await asyncio.sleep(0)
    assert len(kept.records) >= 64
    recorder.tell()
    assert [each.name for each in kept.records] == [*map(str, range(200))]


async def test_what_was_told_is_freed_without_the_collector(recorder: Recorder, kept: Kept) -> None:
    """Cycles would hold all that is known of a call until it comes by."""

    class Known:
        """Something that is known of a call, a step or a part of one."""

    alive: WeakSet[Known] = WeakSet()

    def known() -> Known:
        alive.add(made := Known())
        return made

    def call() -> None:
        with recorder.recording("Chat"), step("model", options=known()) as asked:
            asked.note(answer=known())
            note(turn=known())

    gc.disable()
    try:
        for _ in range(10):
            call()
        recorder.tell()
        assert len(alive) == 30
        kept.records.clear()
        assert not alive
    finally:
        gc.enable()


def test_a_server_that_is_asked_for_nothing_loads_nothing() -> None:
    """Neither Prometheus' client nor exporters; of OpenTelemetry what LangSmith loads."""
    program = (
        "import sys, turnkeep_server.app, turnkeep_server.supervisor, langchain_openai\n"
        "ours = {'tracing', 'span_export', 'metrics', 'merged', 'port', 'workers'}\n"
        "ours = {f'turnkeep_server.telemetry.{each}' for each in ours}\n"
        "theirs = {'prometheus_client', 'opentelemetry.exporter'}\n"
        "assert not sys.modules.keys() & (ours | theirs)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
