"""What every history does, stated once. A backend's test class inherits it and gives `store`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from turnkeep_server.errors import SessionCleared, TurnTakenOver
from turnkeep_server.history.contract import (
    ChatMessageHistory,
    HistoryStore,
    Position,
    RequestIdTaken,
    SequenceTaken,
)
from turnkeep_server.history.langchain import LangChainChatMessageHistory
from turnkeep_server.turns import (
    UNFINISHED,
    ContextReport,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Reply,
    Role,
    SessionKey,
    Summary,
    TextPart,
    TokenCounts,
    ToolCall,
    Turn,
    TurnDraft,
    TurnStatus,
    Usage,
)

VICTOR = SessionKey("default", "victor", "42")
HELLO = "Привет GPT! Меня зовут Виктор 👋 $where $$NOW"
COMPLETED = frozenset({TurnStatus.COMPLETED})


def draft(text: str = HELLO, *, request_id: str = "", before: int = 0) -> TurnDraft:
    """A turn of one user message."""
    messages = (Message(role=Role.USER, text=text),)
    return TurnDraft(messages, before, request_id=request_id, fingerprint="f")


def answer(text: str = "你好，维克多") -> Reply:
    """What a model may say."""
    message = Message(role=Role.ASSISTANT, text=text)
    return Reply(
        message, FinishReason.STOP, Usage(input_tokens=9, output_tokens=5, total_tokens=14)
    )


def notes(through: int) -> Summary:
    """A summary of two pieces that goes through a turn."""
    said = ("Его зовут Виктор.", "他对花生过敏。")
    pieces = tuple(
        Message(role=Role.SYSTEM, text=each, tokens=TokenCounts(o200k=9, cl100k=12))
        for each in said
    )
    return Summary(pieces, through_sequence=through, covers_messages=through)


async def add(history: ChatMessageHistory, text: str, *, request_id: str = "") -> Turn:
    """Appends one message at the session's end."""
    tail = await history.tail(1)
    before = tail.messages_so_far
    return await history.append(draft(text, request_id=request_id, before=before), tail.head + 1)


async def texts(history: ChatMessageHistory) -> list[str]:
    """The texts of the completed turns, oldest first."""
    turns = await history.page(COMPLETED, limit=1000)
    return [message.text for turn in turns for message in turn.messages]


class HistoryContract:
    """The contract; `store` is a fixture of the backend's own test class."""

    async def test_a_new_session_is_empty(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        tail = await history.tail(10)
        assert (tail.turns, tail.head, tail.whole) == ((), 0, True)
        assert await history.page(COMPLETED, limit=10) == []
        assert await history.find("r") is None

    async def test_a_turn_is_reserved_as_running_and_then_completed(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(request_id="r1"), 1)
        assert await history.is_running(running)
        assert (await history.tail(5)).running == running
        assert await texts(history) == []
        completed = await history.complete(running, answer())
        assert not await history.is_running(running)
        assert (await history.tail(5)).turns == (completed,)
        assert await texts(history) == [HELLO, "你好，维克多"]
        assert completed.usage.total_tokens == 14
        assert completed.finish_reason is FinishReason.STOP

    async def test_a_turn_comes_back_exactly_as_it_was_written(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        everything = Message(
            role=Role.ASSISTANT,
            parts=(
                TextPart("مرحبا {topic} \x00"),
                ImagePart("data:image/png;base64,AA=="),
                FilePart("отчёт.pdf", "application/pdf", b"\x00\xff"),
            ),
            name="помощник",
            tool_calls=(ToolCall("c1", "поиск", '{"q": "ночь"}'),),
            metadata={"a.b": "$x", "$where": "1", "": "🌃"},
        )
        result = Message(role=Role.TOOL, text="темно", tool_call_id="c1")
        written = await history.append(
            TurnDraft(
                (everything, result, Message(role=Role.SYSTEM, text="будь краток")),
                messages_before=0,
                request_id="r1",
                fingerprint="f",
                model="gpt-4o-mini",
                context=ContextReport(3, 7, summary_used=True, estimated_input_tokens=11),
            ),
            1,
        )
        read = (await history.page(COMPLETED, limit=1))[0]
        assert read == written
        assert read.messages[0].metadata == everything.metadata
        assert read.messages[0].parts == everything.parts

    async def test_of_many_writers_at_one_place_exactly_one_wins(self, store: HistoryStore) -> None:
        outcomes = await asyncio.gather(
            *(store.history(VICTOR).begin(draft(f"{n}"), 1) for n in range(10)),
            return_exceptions=True,
        )
        assert sum(isinstance(each, Turn) for each in outcomes) == 1
        assert sum(isinstance(each, SequenceTaken) for each in outcomes) == 9

    async def test_a_place_that_is_taken_is_refused_and_nothing_is_stored(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "первый")
        with pytest.raises(SequenceTaken):
            await history.append(draft("второй"), 1)
        assert await texts(history) == ["первый"]

    async def test_turns_are_appended_many_at_once_each_at_its_place(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "первый")
        said = ["второй", "第三", "الرابع 👋"]
        drafts = [draft(text, request_id=f"r{n}", before=n) for n, text in enumerate(said, start=1)]
        cost = Usage(input_tokens=3, output_tokens=4, total_tokens=7)
        turns = await history.append_all([*drafts[:2], replace(drafts[2], usage=cost)], 2)
        assert list(await history.page(COMPLETED, limit=10, after=1)) == list(turns)
        assert await texts(history) == ["первый", *said]
        assert [(turn.sequence, turn.messages_so_far) for turn in turns] == [(2, 2), (3, 3), (4, 4)]
        assert turns[2].usage == cost
        listed = await store.sessions("default", "victor", limit=5)
        assert [(each.last_sequence, each.message_count) for each in listed] == [(4, 4)]

    async def test_of_many_turns_those_before_a_refused_one_are_stored(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "первый", request_id="r1")
        drafts = [draft(text, request_id=text, before=1) for text in ("a", "r1", "b")]
        with pytest.raises((SequenceTaken, RequestIdTaken)):
            await history.append_all(drafts, 2)
        assert await texts(history) == ["первый", "a"]
        with pytest.raises((SequenceTaken, RequestIdTaken)):
            await history.append_all(drafts, 2)
        assert (await history.tail(5)).head == 2

    async def test_many_turns_race_one_turn_and_keep_one_order(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        outcomes = await asyncio.gather(
            *(history.append_all([draft(f"{n}"), draft(f"{n}", before=1)], 1) for n in range(5)),
            return_exceptions=True,
        )
        assert sum(isinstance(each, SequenceTaken) for each in outcomes) >= 4
        turns = await history.page(COMPLETED, limit=10)
        assert [turn.sequence for turn in turns] == [*range(1, len(turns) + 1)]

    @pytest.mark.parametrize("method", ["begin", "append"])
    async def test_a_request_id_is_stored_once(self, store: HistoryStore, method: str) -> None:
        history = store.history(VICTOR)
        first = await add(history, "первый", request_id="r1")
        with pytest.raises(RequestIdTaken):
            await getattr(history, method)(draft("второй", request_id="r1"), 2)
        assert await history.find("r1") == first
        assert (await history.tail(5)).head == 1

    async def test_a_request_id_is_the_session_s_own(self, store: HistoryStore) -> None:
        for key in (
            VICTOR,
            SessionKey("default", "anna", "42"),
            SessionKey("other", "victor", "42"),
        ):
            await add(store.history(key), "первый", request_id="r1")
            assert await texts(store.history(key)) == ["первый"]

    async def test_a_failed_turn_keeps_its_messages_and_gives_up_its_request_id(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(request_id="r1"), 1)
        await history.fail(running, TurnStatus.FAILED, "MODEL_TIMEOUT", "")
        failed = (await history.page(UNFINISHED, limit=5))[0]
        assert failed.status is TurnStatus.FAILED
        assert failed.failure == "MODEL_TIMEOUT"
        assert [each.text for each in failed.messages] == [HELLO]
        assert await history.find("r1") is None
        again = await history.begin(draft(request_id="r1"), 2)
        assert (await history.tail(5)).running == again

    async def test_a_cancelled_turn_keeps_the_text_that_had_come(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(), 1)
        await history.fail(running, TurnStatus.CANCELLED, "", "你好，")
        cancelled = (await history.page(UNFINISHED, limit=5))[0]
        assert cancelled.status is TurnStatus.CANCELLED
        assert [each.text for each in cancelled.messages] == [HELLO, "你好，"]
        assert await texts(history) == []

    async def test_a_turn_that_ended_cannot_be_ended_again(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(), 1)
        await history.fail(running, TurnStatus.FAILED, "MODEL_TIMEOUT", "")
        with pytest.raises(TurnTakenOver):
            await history.complete(running, answer())
        assert await texts(history) == []

    async def test_a_turn_under_a_live_lease_is_not_taken_over(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(), 1)
        assert not await history.take_over(running)
        assert await history.is_running(running)
        await history.complete(running, answer())
        assert not await history.take_over(running)

    async def test_clearing_empties_the_session_and_its_sequences_go_on(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "раз", request_id="r1")
        await history.complete(await history.begin(draft(before=1), 2), answer())
        cleared = await history.clear_session()
        assert (cleared.turns, cleared.messages) == (2, 3)
        tail = await history.tail(10)
        assert (tail.turns, tail.head, tail.whole) == ((), 3, True)
        assert tail.messages_so_far == 0
        assert await texts(history) == []
        assert await history.page(COMPLETED, limit=5, newest_first=True) == []
        assert await history.find("r1") is None
        after = await add(history, "снова", request_id="r1")
        assert after.sequence == 4
        assert await texts(history) == ["снова"]

    async def test_clearing_is_idempotent_and_an_unknown_session_clears_nothing(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        assert (await history.clear_session()).turns == 0
        assert (await history.tail(1)).head == 0
        await add(history, "раз")
        assert (await history.clear_session()).turns == 1
        assert (await history.clear_session()).turns == 0
        assert (await history.tail(1)).head == 2

    async def test_a_turn_that_was_cleared_while_it_ran_leaves_nothing(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        running = await history.begin(draft(request_id="r1"), 1)
        cleared = await history.clear_session()
        assert (cleared.turns, cleared.messages) == (1, 1)
        with pytest.raises(SessionCleared):
            await history.complete(running, answer())
        assert await texts(history) == []
        assert not await history.is_running(running)

    async def test_the_newest_summary_is_found_and_the_turns_stay_as_they_are(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        for n in range(6):
            await add(history, f"{n}")
        said = await history.page(COMPLETED, limit=10)
        assert await history.summary() is None
        for through in (2, 4):
            assert await history.summarize(notes(through))
            assert await history.summary() == notes(through)
        assert await history.page(COMPLETED, limit=10) == said

    async def test_a_summary_of_a_turn_that_is_not_there_is_not_written(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "1")
        running = await history.begin(draft(), 2)
        assert not await history.summarize(notes(2))
        await history.fail(running, TurnStatus.FAILED, "", "")
        assert not await history.summarize(notes(2))
        assert not await history.summarize(notes(3))
        assert await history.summary() is None

    async def test_the_next_summary_is_claimed_by_one_at_a_time(self, store: HistoryStore) -> None:
        claims = await asyncio.gather(
            *(store.history(VICTOR).claim_summary(None, 60) for _ in range(3))
        )
        assert claims == [False] * 3, "there is nothing to summarise"
        history = store.history(VICTOR)
        for n in range(4):
            await add(history, f"{n}")
        claims = await asyncio.gather(
            *(store.history(VICTOR).claim_summary(None, 60) for _ in range(10))
        )
        assert sorted(claims) == [False] * 9 + [True]
        await history.summarize(notes(2))
        assert not await history.claim_summary(None, 60)
        assert await history.claim_summary(notes(2), 0.1)
        assert not await history.claim_summary(notes(2), 60)
        await asyncio.sleep(0.2)
        assert await history.claim_summary(notes(2), 60), "claims run out"

    async def test_clearing_forgets_summaries_and_those_that_come_late_are_dropped(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        for n in range(4):
            await add(history, f"{n}")
        await history.summarize(notes(2))
        await history.clear_session()
        assert await history.summary() is None
        assert not await history.summarize(notes(3))
        await add(history, "new")
        assert await history.summary() is None
        assert await history.claim_summary(None, 60), "an earlier life's claim does not count"

    async def test_summaries_are_the_session_s_own(self, store: HistoryStore) -> None:
        other = SessionKey("default", "", "42")
        for session in (VICTOR, other):
            await add(store.history(session), "1")
        await store.history(VICTOR).summarize(notes(1))
        assert await store.history(other).summary() is None

    async def test_the_tail_is_bounded_and_newest_first(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        for n in range(1, 8):
            await add(history, f"{n}")
        tail = await history.tail(3)
        assert [turn.sequence for turn in tail.turns] == [7, 6, 5]
        assert (tail.head, tail.whole, tail.messages_so_far) == (7, False, 7)
        assert (await history.tail(8)).whole

    async def test_pages_go_either_way_from_a_sequence(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        for n in range(1, 8):
            await add(history, f"{n}")
        older = await history.page(COMPLETED, limit=3, newest_first=True, after=6)
        assert [turn.sequence for turn in older] == [5, 4, 3]
        newer = await history.page(COMPLETED, limit=3, after=5)
        assert [turn.sequence for turn in newer] == [6, 7]

    async def test_a_page_begun_before_a_clear_goes_on_after_it(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        for n in range(5):
            await add(history, f"{n}")
        first = await history.page(COMPLETED, limit=2)
        await history.clear_session()
        await add(history, "новый")
        rest = await history.page(COMPLETED, limit=10, after=first[-1].sequence)
        assert [each.messages[0].text for each in rest] == ["новый"]

    async def test_each_turn_carries_how_many_messages_came_before(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "раз")
        running = await history.begin(draft(before=1), 2)
        assert (await history.tail(1)).messages_so_far == 1
        await history.complete(running, answer())
        assert (await history.tail(1)).messages_so_far == 3

    async def test_sessions_are_listed_newest_activity_first_and_paged(
        self, store: HistoryStore
    ) -> None:
        for n in (1, 2, 3):
            await add(store.history(SessionKey("default", "victor", f"s{n}")), "раз")
            await asyncio.sleep(0.003)
        await add(store.history(SessionKey("default", "victor", "s1")), "два")
        await add(store.history(SessionKey("default", "anna", "s9")), "раз")
        first = await store.sessions("default", "victor", limit=2)
        assert [each.session.session_id for each in first] == ["s1", "s3"]
        assert (first[0].last_sequence, first[0].message_count) == (2, 2)
        assert first[0].created_at < first[0].updated_at <= datetime.now(UTC)
        after = Position(first[-1].updated_at, first[-1].session.session_id)
        rest = await store.sessions("default", "victor", limit=2, after=after)
        assert [each.session.session_id for each in rest] == ["s2"]

    async def test_a_cleared_session_is_listed_again_when_it_goes_on(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        await add(history, "раз")
        await history.clear_session()
        assert await store.sessions("default", "victor", limit=5) == []
        turn = await add(history, "снова")
        (listed,) = await store.sessions("default", "victor", limit=5)
        assert (listed.last_sequence, listed.message_count) == (3, 1)
        assert listed.created_at == turn.created_at

    async def test_nothing_is_opened_without_a_tenant(self, store: HistoryStore) -> None:
        """Neither a session nor a list of them: what is nobody's is not there to be read."""
        with pytest.raises(ValueError, match="no tenant"):
            store.history(SessionKey("", "victor", "42"))
        with pytest.raises(ValueError, match="no tenant"):
            await store.sessions("", "victor", limit=5)

    async def test_tenants_have_nothing_in_common(self, store: HistoryStore) -> None:
        """Whatever else is the same: place, request_id, list, clear."""
        theirs = SessionKey("other", VICTOR.user_id, VICTOR.session_id)
        for key in (VICTOR, theirs):
            turn = await add(store.history(key), f"{key.tenant}: привет")
            assert turn.sequence == 1
        await store.history(theirs).clear_session()
        assert await texts(store.history(VICTOR)) == ["default: привет"]
        assert await texts(store.history(theirs)) == []
        assert len(await store.sessions("default", "victor", limit=5)) == 1
        assert await store.sessions("other", "victor", limit=5) == []

    async def test_repairing_a_sound_store_changes_nothing(self, store: HistoryStore) -> None:
        for name in ("a", "b"):
            await add(store.history(SessionKey("default", "victor", name)), "раз")
        before = await store.sessions("default", "victor", limit=5)
        assert await store.repair() == 2
        assert await store.sessions("default", "victor", limit=5) == before

    async def test_langchain_s_interface_adds_reads_and_clears(self, store: HistoryStore) -> None:
        history = store.history(VICTOR)
        assert isinstance(history, LangChainChatMessageHistory)
        said = [
            SystemMessage("будь краток"),
            HumanMessage("Чему равен синус 30?"),
            AIMessage("", tool_calls=[{"id": "c", "name": "sin", "args": {"deg": 30}}]),
            ToolMessage("0.5", tool_call_id="c"),
            AIMessage("½"),
        ]
        await history.aadd_messages(said)
        read = await history.aget_messages()
        assert [(m.type, m.content) for m in read] == [(m.type, m.content) for m in said]
        assert read[2].tool_calls[0]["args"] == {"deg": 30}
        await history.aclear()
        assert await history.aget_messages() == []

    async def test_langchain_s_interface_reads_a_session_longer_than_one_read(
        self, store: HistoryStore
    ) -> None:
        history = store.history(VICTOR)
        assert isinstance(history, LangChainChatMessageHistory)
        for n in range(105):
            await add(history, f"{n}")
        assert [m.content for m in await history.aget_messages()] == [f"{n}" for n in range(105)]

    async def test_langchain_s_interface_keeps_one_order_under_a_race(
        self, store: HistoryStore
    ) -> None:
        async def add_pair(n: int) -> None:
            history = store.history(VICTOR)
            assert isinstance(history, LangChainChatMessageHistory)
            await history.aadd_messages([HumanMessage(f"q{n}"), AIMessage(f"a{n}")])

        await asyncio.gather(*(add_pair(n) for n in range(10)))
        read = await texts(store.history(VICTOR))
        assert sorted(read[::2]) == sorted(f"q{n}" for n in range(10))
        assert [q[1:] for q in read[::2]] == [a[1:] for a in read[1::2]]
