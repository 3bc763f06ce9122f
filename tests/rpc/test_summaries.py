"""What no longer fits is summarised behind the turns, and the summary sent in its place."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Call, Fault, OpenAIStub
from tests.kit.openai_wire import text_of
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

WINDOW, AFTER = 4, 6
SUMMARIZER = "gpt-4o"
PROMPT = "Запиши главное {как есть}"
FACT = re.compile(r"(?:Меня зовут|Я живу в|对|سؤالي عن) ?\w+")
WAIT_SECONDS = 30.0


def extracted(messages: list[dict[str, Any]]) -> str:
    """A model that keeps facts word for word, and answers questions with an echo."""
    asked = text_of(messages[-1])
    if text_of(messages[0]) != PROMPT:
        return f"Понятно: {asked}"
    return "\n".join(dict.fromkeys(FACT.findall(asked))) or "—"


class Notes:
    """A session at a server that summarises, and the calls that it makes for that."""

    def __init__(self, session: Session, model: OpenAIStub, server: ServerProcess) -> None:
        self.session = session
        self.model = model
        self.server = server

    @property
    def calls(self) -> list[Call]:
        """The calls of the summarising model."""
        return [each for each in self.model.calls if each.body["model"] == SUMMARIZER]

    async def preview(self, **context: Any) -> pb.PreviewContextResponse:
        """What the next turn would be sent."""
        return await self.session.preview("?", context=pb.ContextPolicy(**context))

    async def told(self, *facts: str) -> str:
        """The summary that is sent, once it has all these facts."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                system = [
                    t for role, t in texts((await self.preview()).messages[1:]) if role == "system"
                ]
                if system and all(each in system[0] for each in facts):
                    return system[0]
                await asyncio.sleep(0.05)

    async def logged(self, event: str) -> None:
        """Waits until the server has logged this event."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not any(f'"event": "{event}"' in line for line in self.server.log):
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def settings(environment: dict[str, str], mongod: Mongod) -> dict[str, str]:
    """A small window, and summaries soon."""
    return {
        **environment,
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        "TURNKEEP_SUMMARY": "on",
        "TURNKEEP_SUMMARY_MODEL": SUMMARIZER,
        "TURNKEEP_SUMMARY_PROMPT": PROMPT,
        "TURNKEEP_SUMMARY_AFTER_MESSAGES": f"{AFTER}",
        "TURNKEEP_SUMMARY_DELAY_SECONDS": "0.1",
        "TURNKEEP_SUMMARY_TIMEOUT_SECONDS": "0.5",
        "TURNKEEP_MAX_MESSAGES": f"{WINDOW}",
        "TURNKEEP_MODEL_ATTEMPTS": "1",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def summarising(settings: dict[str, str]) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(settings) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def notes(summarising: ServerProcess, model: OpenAIStub) -> Notes:
    model.reply = extracted
    return Notes(Session(summarising.stub()[1]), model, summarising)


async def _grow(session: Session, turns: int, first: str = "Меня зовут Виктор") -> None:
    await session.chat(first)
    for n in range(turns - 1):
        await session.chat(f"вопрос {n} 🙂")


async def test_what_left_the_window_is_sent_as_one_system_message_before_it(notes: Notes) -> None:
    await _grow(notes.session, 6)
    told = await notes.told("Меня зовут Виктор")
    answer = await notes.session.chat("Как меня зовут?")

    call = notes.model.calls[-1]
    assert [role for role, _ in call.input] == [
        "system",
        "system",
        *["user", "assistant"] * 2,
        "user",
    ]
    assert call.input[1][1] == told
    assert answer.context.summary_used
    assert (answer.context.included_messages, answer.context.omitted_messages) == (4, 8)
    (summary,) = notes.calls
    assert 0 < summary.body["max_completion_tokens"] < 1_000
    assert summary.input[0] == ("system", PROMPT)
    assert "USER: Меня зовут Виктор" in summary.input[1][1]


async def test_turns_stay_as_they_were_and_nothing_else_is_listed(notes: Notes) -> None:
    await _grow(notes.session, 6)
    before = await notes.session.everything()
    await notes.told("Виктор")
    assert await notes.session.everything() == before


async def test_summaries_add_up_and_the_oldest_fact_is_kept(notes: Notes) -> None:
    """Three summaries later the first fact is still sent; each call is given new turns alone."""
    await _grow(notes.session, 6)
    await notes.told("Виктор")
    for fact in ("Я живу в Казани", "对花生过敏"):
        await _grow(notes.session, 4, first=fact)
        await notes.told("Меня зовут Виктор", fact)
    given = [each.input[1][1] for each in notes.calls]
    assert len(given) == 3
    assert [("Виктор" in each, "Казани" in each, "花生" in each) for each in given] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


async def test_a_clear_forgets_the_summary_with_the_turns(notes: Notes) -> None:
    await _grow(notes.session, 6)
    await notes.told("Виктор")
    await notes.session.clear()
    await _grow(notes.session, 3, first="Привет")
    assert "Виктор" not in str((await notes.preview()).messages)


async def test_a_summary_that_was_being_written_through_a_clear_is_dropped(notes: Notes) -> None:
    release = asyncio.Event()

    async def hold(call: Call) -> None:
        if call.body["model"] == SUMMARIZER:
            await release.wait()

    notes.model.gate = hold
    await _grow(notes.session, 6)
    async with asyncio.timeout(WAIT_SECONDS):
        while not notes.calls:
            await asyncio.sleep(0.02)
    await notes.session.clear()
    await _grow(notes.session, 3, first="Привет")
    release.set()
    await notes.logged("summary_dropped")
    assert "Виктор" not in str((await notes.preview()).messages)


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.HANG, Fault.RUBBISH, Fault.EMPTY_CHOICES]
)
async def test_a_summariser_that_fails_is_not_noticed_by_anybody(
    notes: Notes, fault: Fault
) -> None:
    await _grow(notes.session, 5)
    failed = sum('"summary_failed"' in line for line in notes.server.log)
    answer = await notes.session.chat("последний до сводки")
    notes.model.always(fault)
    async with asyncio.timeout(WAIT_SECONDS):
        while sum('"summary_failed"' in line for line in notes.server.log) == failed:
            await asyncio.sleep(0.05)
    notes.model.heal()
    assert answer.sequence == 6
    assert not (await notes.session.chat("дальше")).context.summary_used
    # It is not tried again at once.
    assert len(notes.calls) == 1


async def test_a_summary_of_50_000_tokens_is_cut_to_its_share(notes: Notes) -> None:
    notes.model.reply = lambda messages: (
        "Он много говорит. " * 15_000 if text_of(messages[0]) == PROMPT else "да"
    )
    await _grow(notes.session, 6)
    told = await notes.told("Он много говорит")
    assert len(told) < 4_000
    for most in (60, 300, 1_000):
        context = (await notes.preview(max_input_tokens=most)).context
        assert context.estimated_input_tokens <= most
        assert context.included_messages > 0


async def test_a_request_that_sends_all_needs_no_summary(notes: Notes) -> None:
    await _grow(notes.session, 6)
    await notes.told("Виктор")
    preview = await notes.preview(max_messages=100)
    assert not preview.context.summary_used
    assert preview.context.omitted_messages == 0


async def test_summaries_outlive_the_server(notes: Notes, settings: dict[str, str]) -> None:
    await _grow(notes.session, 6)
    told = await notes.told("Виктор")
    async with ServerProcess(settings) as other:
        again = Notes(Session(other.stub()[1], notes.session.id), notes.model, other)
        assert await again.told("Виктор") == told
    assert len(notes.calls) == 1


async def test_summaries_can_be_turned_off(
    notes: Notes, settings: dict[str, str], model: OpenAIStub
) -> None:
    """And those that are there are not sent then."""
    await _grow(notes.session, 6)
    await notes.told("Виктор")
    async with ServerProcess({**settings, "TURNKEEP_SUMMARY": "off"}) as server:
        session = Session(server.stub()[1], notes.session.id)
        await _grow(session, 4)
        await asyncio.sleep(0.5)
        assert not (await session.preview("?")).context.summary_used
    assert len(notes.calls) == 1


async def test_a_drain_does_not_wait_for_summaries(
    settings: dict[str, str], model: OpenAIStub
) -> None:
    async with ServerProcess(settings) as server:
        notes = Notes(Session(server.stub()[1]), model, server)
        model.reply = extracted

        async def hold(call: Call) -> None:
            if call.body["model"] == SUMMARIZER:
                await asyncio.sleep(60)

        model.gate = hold
        await _grow(notes.session, 6)
        async with asyncio.timeout(WAIT_SECONDS):
            while not notes.calls:
                await asyncio.sleep(0.02)
        server.terminate()
        assert await server.wait(5) == 0


async def test_an_imported_session_is_summarised_as_much_at_a_time_as_the_model_reads(
    notes: Notes,
) -> None:
    """61 long turns in one go: several summaries in a row, which the first fact survives."""
    await notes.session.add(message("user", "Меня зовут Виктор"), message("assistant", "Рад"))
    for n in range(60):
        await notes.session.add(
            *(message("user", f"{n}.{each} " + "очень длинный рассказ " * 10) for each in range(8))
        )
    await notes.session.chat("И?")
    async with asyncio.timeout(WAIT_SECONDS):
        while len(notes.calls) < 3:
            await asyncio.sleep(0.05)
    await notes.told("Меня зовут Виктор")
