"""Sessions taken over into a store in memory: order, restarts, other turns, what is refused."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from tests.history.contract import draft
from tests.kit.import_source import ListedSource, history_of, imported, messages_of, turns_of
from tests.kit.langchain_back import all_back
from tests.kit.langchain_histories import exchange
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.migration.report import Report
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import TokenCounts, TurnStatus, Usage

FUNCTION = '{"type": "function", "data": {"content": "1", "name": "f"}}'


def said(exchanges: int) -> list[BaseMessage]:
    return [message for n in range(exchanges) for message in exchange(n)]


def counts(report: Report) -> tuple[int, int, int, int, int]:
    """Turns and messages imported, messages there before, unreadable, left."""
    report_of = report.as_json()
    names = ("turns", "imported", "already_there", "unreadable", "left")
    turns, imported_now, there, unreadable, left = (report_of[name] for name in names)
    return turns, imported_now, there, unreadable, left


@pytest.fixture
def store() -> InMemoryHistoryStore:
    return InMemoryHistoryStore()


async def test_a_turn_is_a_question_and_has_its_tokens_cost_and_model(
    store: InMemoryHistoryStore,
) -> None:
    cost: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    asked, called, result, answered = exchange(1)
    messages = [SystemMessage("будь краток"), asked, called, result, answered]
    messages += [HumanMessage("谢谢"), AIMessage("لا شكر", usage_metadata=cost)]
    report = await imported(ListedSource({"42": messages}), store, user_id="victor")

    assert report.complete
    assert counts(report) == (3, 7, 0, 0, 0)
    turns = await turns_of(store, "42", "victor")
    assert [len(turn.messages) for turn in turns] == [1, 4, 2]
    assert [turn.messages_before for turn in turns] == [0, 1, 5]
    assert (turns[1].model, turns[2].usage) == ("gpt-4o", Usage(3, 4, 7))
    kept = await messages_of(store, "42", "victor")
    assert all_back(kept) == messages
    assert all((each.tokens or TokenCounts()).o200k for each in kept)


async def test_run_again_it_finds_everything_there(store: InMemoryHistoryStore) -> None:
    source = ListedSource({"a": said(300), "b": said(2), "empty": []})
    await imported(source, store)
    before = await turns_of(store, "a")
    report = await imported(source, store)
    assert report.complete
    assert counts(report) == (0, 0, 1_208, 0, 0)
    assert await turns_of(store, "a") == before


@pytest.mark.parametrize("then", range(1, 12))
async def test_what_the_source_has_grown_by_is_appended(
    store: InMemoryHistoryStore, then: int
) -> None:
    """Also where the last turn was not whole yet: its rest is a turn of its own then."""
    whole = said(3)
    await imported(ListedSource({"42": whole[:then]}), store)
    report = await imported(ListedSource({"42": whole}), store)
    assert report.complete
    assert (report.already_there, report.imported) == (then, 12 - then)
    assert all_back(await messages_of(store, "42")) == whole
    assert counts(await imported(ListedSource({"42": whole}), store)) == (0, 0, 12, 0, 0)


async def test_imports_at_a_time_of_a_source_that_grows_store_each_message_once(
    store: InMemoryHistoryStore,
) -> None:
    whole = said(400)
    sources = [ListedSource({"42": whole[:seen]}) for seen in (1_600, 801, 1_202, 403, 1_599)]
    await asyncio.gather(*(imported(each, store) for each in sources))
    report = await imported(ListedSource({"42": whole}), store)
    assert report.complete
    assert all_back(await messages_of(store, "42")) == whole


async def test_a_turn_that_is_too_large_is_cut_and_found_again(
    store: InMemoryHistoryStore,
) -> None:
    messages = [HumanMessage("раз"), *(AIMessage(f"№{n} 🌧") for n in range(1_200))]
    source = ListedSource({"42": messages})
    await imported(source, store)
    assert [len(turn.messages) for turn in await turns_of(store, "42")] == [500, 500, 201]
    # Turns would be cut otherwise now: what is stored says where to go on.
    limits = Limits(max_added_messages=7)
    assert counts(await imported(source, store, limits=limits)) == (0, 0, 1_201, 0, 0)


# --- sessions that hold something else ----------------------------------------------------------


async def test_a_session_with_other_turns_is_refused_and_with_append_goes_on_behind_them(
    store: InMemoryHistoryStore,
) -> None:
    await history_of(store, "42").append(draft("раньше"), 1)
    source = ListedSource({"42": said(2), "другая": said(1), "43": said(1)})
    report = await imported(source, store, quote_session_ids=True)
    assert [each.session_id for each in report.problems] == ["42"]
    assert "--append" in report.problems[0].reason
    assert counts(report) == (2, 8, 0, 0, 8)

    assert (await imported(source, store, append=True, quote_session_ids=True)).complete
    texts = [each.text for each in await messages_of(store, "42")]
    assert texts[0] == "раньше"
    assert len(texts) == 9
    again = await imported(source, store, append=True, quote_session_ids=True)
    assert counts(again) == (0, 0, 16, 0, 0)


async def test_turns_after_an_import_are_no_obstacle_until_there_is_more_to_import(
    store: InMemoryHistoryStore,
) -> None:
    await imported(ListedSource({"42": said(2)}), store)
    history = history_of(store, "42")
    await history.append(draft("позже", before=8), 3)
    assert (await imported(ListedSource({"42": said(2)}), store)).complete
    report = await imported(ListedSource({"42": said(3)}), store)
    assert counts(report) == (0, 0, 8, 0, 4)
    assert (await imported(ListedSource({"42": said(3)}), store, append=True)).complete
    kept = await messages_of(store, "42")
    assert [each.text for each in kept][8] == "позже"
    assert (await history.tail(1)).messages_so_far == len(kept) == 13


async def test_what_was_cleared_does_not_come_back_unasked(store: InMemoryHistoryStore) -> None:
    source = ListedSource({"42": said(2)})
    await imported(source, store)
    await history_of(store, "42").clear_session()
    report = await imported(source, store)
    assert "was cleared" in report.problems[0].reason
    assert await messages_of(store, "42") == []
    assert (await imported(source, store, append=True)).complete
    assert all_back(await messages_of(store, "42")) == said(2)


async def test_a_running_turn_is_waited_for_with_append_and_refused_without(
    store: InMemoryHistoryStore,
) -> None:
    history = history_of(store, "42")
    running = await history.begin(draft("идёт"), 1)
    source = ListedSource({"42": said(1)})
    assert "a turn is running" in (await imported(source, store)).problems[0].reason
    importing = asyncio.create_task(imported(source, store, append=True))
    await asyncio.sleep(0.05)
    assert not importing.done()
    await history.fail(running, TurnStatus.CANCELLED, "", "")
    assert (await importing).complete
    assert len(await messages_of(store, "42")) == 4


async def test_a_source_that_was_changed_is_refused_and_nothing_is_written(
    store: InMemoryHistoryStore,
) -> None:
    await imported(ListedSource({"42": said(2)}), store)
    changed: list[BaseMessage] = [*said(1), HumanMessage("другое"), *said(3)[5:]]
    report = await imported(ListedSource({"42": changed}), store, append=True)
    assert "message 4 is not the one that was imported" in report.problems[0].reason
    assert counts(report) == (0, 0, 4, 0, 8)
    assert all_back(await messages_of(store, "42")) == said(2)


async def test_another_source_is_another_one_unless_it_is_given_the_name(
    store: InMemoryHistoryStore,
) -> None:
    await imported(ListedSource({"42": said(2)}, name="old"), store)
    moved = ListedSource({"42": said(2)}, name="new")
    report = await imported(moved, store)
    assert "--source-name" in report.problems[0].reason
    assert report.source_name == "new"
    assert counts(await imported(moved, store, source_name="old")) == (0, 0, 8, 0, 0)


async def test_a_number_and_a_text_that_are_written_alike_are_two_sessions(
    store: InMemoryHistoryStore,
) -> None:
    report = await imported(ListedSource({42: said(1), "42": said(2)}), store)
    assert [each.session_id for each in report.problems] == ["42"]
    assert report.imported + report.left == 12


# --- what cannot be imported --------------------------------------------------------------------


@pytest.mark.parametrize("broken", [FUNCTION, "{", "да", 7, '{"type": "human", "data": {}}'])
async def test_a_session_stops_at_what_cannot_be_read_and_others_go_on(
    store: InMemoryHistoryStore, broken: object
) -> None:
    stored: Sequence[object] = [*said(2)[:6], broken, *said(2)[6:]]
    report = await imported(ListedSource({"42": stored, "43": said(1)}), store)
    assert not report.complete
    assert [(each.session_id, each.index) for each in report.problems] == [("42", 6)]
    assert counts(report) == (3, 10, 0, 1, 2)
    assert all_back(await messages_of(store, "42")) == said(2)[:6]

    report = await imported(ListedSource({"42": stored}), store, skip_unreadable=True)
    assert not report.complete
    assert counts(report) == (1, 2, 6, 1, 0)
    assert all_back(await messages_of(store, "42")) == said(2)


async def test_a_message_over_a_limit_is_named_with_the_limit(store: InMemoryHistoryStore) -> None:
    messages = [HumanMessage("🌧" * 65_536), HumanMessage("я" * 65_537)]
    report = await imported(ListedSource({"42": messages}), store)
    assert report.imported == 1
    assert "65537 code points; at most 65536" in report.problems[0].reason


@pytest.mark.parametrize("session_id", ["имя 1", "a b", "", "x" * 129, None])
async def test_a_session_id_that_none_can_have_is_refused(
    store: InMemoryHistoryStore, session_id: str | None
) -> None:
    report = await imported(ListedSource({session_id: said(1)}), store)
    assert counts(report) == (0, 0, 0, 0, 4)
    assert [each.index for each in report.problems] == [None]


async def test_session_ids_are_quoted_on_demand_and_none_become_alike(
    store: InMemoryHistoryStore,
) -> None:
    source = ListedSource({"имя 1": said(1), "a%20b": said(1), "a b": said(1), "a/b@c": said(1)})
    assert (await imported(source, store, quote_session_ids=True)).complete
    for session_id in ("%D0%B8%D0%BC%D1%8F%201", "a%2520b", "a%20b", "a/b@c"):
        assert len(await messages_of(store, session_id)) == 4


async def test_without_a_store_it_counts_what_it_would_do() -> None:
    source = ListedSource({"42": [*said(2), FUNCTION, *said(1)], "43": said(1)})
    assert counts(await imported(source, None)) == (3, 12, 0, 1, 4)
