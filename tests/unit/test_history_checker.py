"""The torture suite's checker: each rule kept and broken by hand, then at random."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.faults.torture.calls import Attempt, Call, History, ModelCall, Op, Seen, Verdict
from tests.faults.torture.checker import check, main
from tests.faults.torture.violations import Kind
from tests.unit.history_model import Service

OK, REFUSED, UNSURE = Verdict.OK, Verdict.REFUSED, Verdict.UNSURE


class Story:
    """A history told call by call; a question's reply is "re: " and the question."""

    def __init__(self, session: str = "s") -> None:
        self.history = History()
        self._session = session

    def chat(
        self,
        text: str,
        start: int,
        end: int,
        sequence: int = 0,
        *,
        verdict: Verdict = OK,
        before: tuple[str, ...] = (),
        asked_at: int | None = None,
        reply: str = "",
        streamed: str | None = None,
    ) -> "Story":
        """A turn; the model was asked with `before`, questions and replies in turn."""
        answer = f"re: {text}"
        call = self._call(Op.CHAT, start, end, verdict, (text,))
        if verdict is OK:
            call = replace(call, sequence=sequence, reply=reply or answer, streamed=streamed)
        self.history.calls.append(call)
        if verdict is not REFUSED:
            self.ask(text, start + 1 if asked_at is None else asked_at, before, answer)
        return self

    def ask(self, text: str, at: int, before: tuple[str, ...], answer: str) -> "Story":
        """The model is asked."""
        roles = ("user", "assistant")
        said = tuple((roles[n % 2], each) for n, each in enumerate(before))
        self.history.asked.append(ModelCall(len(self.history.asked) + 1, at, text, said, answer))
        return self

    def add(
        self, start: int, end: int, sequence: int, *texts: str, verdict: Verdict = OK
    ) -> "Story":
        """Messages are appended."""
        call = self._call(Op.ADD, start, end, verdict, texts)
        self.history.calls.append(replace(call, sequence=sequence if verdict is OK else 0))
        return self

    def clear(self, start: int, end: int, verdict: Verdict = OK) -> "Story":
        """The session is forgotten."""
        self.history.calls.append(self._call(Op.CLEAR, start, end, verdict, ()))
        return self

    def read(self, start: int, end: int, *seen: tuple[int, str], whole: bool = False) -> "Story":
        """The messages are listed. `whole`: those of failed turns too."""
        messages = tuple(
            Seen(place, "assistant" if text.startswith("re: ") else "user", text)
            for place, text in seen
        )
        call = self._call(Op.LIST, start, end, OK, ())
        self.history.calls.append(replace(call, seen=messages, unfinished=whole))
        return self

    def kinds(self) -> list[Kind]:
        """What the checker finds, in the order of the kinds."""
        return sorted(each.kind for each in check(self.history))

    def _call(self, op: Op, start: int, end: int, verdict: Verdict, texts: tuple[str, ...]) -> Call:
        number = len(self.history.calls) + 1
        attempts = (Attempt(start, end, "OK" if verdict is OK else "UNAVAILABLE"),)
        return Call(number, op, self._session, start, end, verdict, f"r{number}", texts, attempts)


def turn(place: int, text: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """A turn's messages in a list."""
    return (place, text), (place, f"re: {text}")


def two() -> Story:
    """Two turns, one after the other."""
    return Story().chat("a", 10, 20, 1).chat("b", 30, 40, 2, before=("a", "re: a"))


def test_two_turns_and_what_is_read_of_them_are_fine() -> None:
    story = two().read(1, 5).read(12, 18).read(25, 50, *turn(1, "a"))
    assert story.read(50, 60, *turn(1, "a"), *turn(2, "b")).kinds() == []


def test_a_turn_may_be_read_before_it_is_acknowledged() -> None:
    assert two().read(12, 18, *turn(1, "a")).kinds() == []


# --- acknowledged is there, once, whole ----------------------------------------------------------


def test_an_acknowledged_turn_that_is_not_there_is_lost() -> None:
    assert two().read(50, 60, *turn(1, "a")).kinds() == [Kind.LOST]


def test_an_acknowledged_turn_below_one_that_is_there_is_missed_without_waiting_for_it() -> None:
    """Its own acknowledgement comes after the read, but the turn above it had begun by then."""
    story = Story().chat("a", 10, 90, 1).chat("b", 30, 40, 2, before=("a", "re: a"))
    assert story.read(50, 60, *turn(2, "b")).kinds() == [Kind.LOST]


def test_an_unsure_turn_may_be_there_or_not() -> None:
    assert Story().chat("a", 10, 20, verdict=UNSURE).read(30, 40).kinds() == []
    assert Story().chat("a", 10, 20, verdict=UNSURE).read(30, 40, *turn(1, "a")).kinds() == []


def test_a_turn_that_was_read_once_is_there_for_ever() -> None:
    story = Story().chat("a", 10, 20, verdict=UNSURE).read(30, 40, *turn(1, "a"))
    assert story.read(35, 50).kinds() == []  # at the same time as the other read
    assert story.read(60, 70).kinds() == [Kind.WENT_BACK]


@pytest.mark.parametrize("seen", [[(1, "a")], [(1, "re: a")], [(1, "a"), (2, "re: a")]])
def test_a_turn_is_there_whole(seen: list[tuple[int, str]]) -> None:
    # Of a service that tells no sequences, nobody knows that a turn lies at two places.
    for verdict in (OK, UNSURE) if len(seen) == 1 else (OK,):
        story = Story().chat("a", 10, 20, 1, verdict=verdict).read(30, 40, *seen)
        assert Kind.HALF in story.kinds()


def test_a_turn_s_messages_lie_together() -> None:
    story = Story().chat("a", 10, 30, 1).chat("b", 10, 30, 2, before=("a", "re: a"))
    seen = [(1, "a"), (2, "b"), (1, "re: a"), (2, "re: b")]
    assert Kind.HALF in story.read(40, 50, *seen).kinds()


def test_appended_messages_are_there_whole() -> None:
    story = Story().add(10, 20, 1, "x")
    assert story.read(30, 40, (1, "x")).kinds() == []
    two_messages = Story()
    two_messages.add(10, 20, 1, "x", "re: x").read(30, 40, (1, "x"))
    assert two_messages.kinds() == [Kind.HALF]


def test_a_turn_is_there_once() -> None:
    story = two().read(50, 60, *turn(1, "a"), *turn(2, "b"), *turn(3, "a"))
    assert Kind.DOUBLED in story.kinds()


def test_a_message_that_nobody_sent_is_unknown() -> None:
    assert two().read(25, 28, *turn(1, "a"), (2, "who?")).kinds() == [Kind.UNKNOWN]


def test_a_message_of_another_session_is_unknown() -> None:
    story = Story("t").chat("other", 1, 5, 1)
    story.history.calls += two().read(50, 60, *turn(1, "a"), *turn(2, "b")).history.calls
    story.history.asked += two().history.asked
    numbered = [replace(call, id=n) for n, call in enumerate(story.history.calls, 1)]
    assert [each.kind for each in check(History(numbered, story.history.asked))] == []
    seen = (*numbered[-1].seen, Seen(3, "user", "other"), Seen(3, "assistant", "re: other"))
    numbered[-1] = replace(numbered[-1], seen=seen)
    assert Kind.UNKNOWN in [each.kind for each in check(History(numbered, story.history.asked))]


def test_a_refused_turn_is_not_there() -> None:
    story = two().chat("c", 50, 60, verdict=REFUSED)
    assert story.read(70, 80, *turn(1, "a"), *turn(2, "b")).kinds() == []
    story.history.asked.append(ModelCall(9, 55, "c", (), "re: c"))
    story.read(90, 99, *turn(1, "a"), *turn(2, "b"), *turn(3, "c"))
    assert Kind.REFUSED in story.kinds()


def test_a_refused_turn_is_not_there_as_one_that_failed_either() -> None:
    story = two().chat("c", 50, 60, verdict=REFUSED)
    story.read(70, 80, *turn(1, "a"), *turn(2, "b"), (3, "c"), whole=True)
    assert story.kinds() == [Kind.REFUSED]


def test_a_turn_is_not_there_before_it_was_sent() -> None:
    assert Story().read(1, 5, *turn(1, "a")).chat("a", 10, 20, 1).kinds() == [Kind.FUTURE]


# --- replies -------------------------------------------------------------------------------------


def test_the_reply_is_an_answer_to_that_question() -> None:
    assert Kind.REPLY in Story().chat("a", 10, 20, 1, reply="invented").kinds()
    story = two()
    story.history.calls[1] = replace(story.history.calls[1], reply="re: a")
    assert Kind.REPLY in story.kinds()


def test_the_reply_that_is_stored_is_the_one_acknowledged() -> None:
    story = Story().chat("a", 10, 20, 1, asked_at=15, reply="re: second")
    story.history.asked.insert(0, ModelCall(9, 11, "a", (), "re: first"))
    story.history.asked[1] = replace(story.history.asked[1], answer="re: second")
    assert story.read(30, 40, (1, "a"), (1, "re: second")).kinds() == []
    assert story.read(50, 60, (1, "a"), (1, "re: first")).kinds() == [Kind.REPLY_CHANGED]


def test_the_model_is_not_asked_again_after_its_answer_was_kept() -> None:
    assert two().ask("a", 25, (), "again").kinds() == [Kind.ASKED_AGAIN]
    assert two().ask("a", 5, (), "a first try").kinds() == []


def test_a_stream_says_what_was_kept() -> None:
    assert Story().chat("a", 10, 20, 1, streamed="re: a").kinds() == []
    assert Story().chat("a", 10, 20, 1, streamed="re:").kinds() == [Kind.STREAM]


def test_a_question_that_nobody_asked_is_unknown() -> None:
    assert two().ask("who?", 15, (), "me").kinds() == [Kind.UNKNOWN]


# --- places and order ----------------------------------------------------------------------------


def test_a_turn_lies_where_it_was_acknowledged() -> None:
    assert Kind.MOVED in two().read(50, 60, *turn(1, "a"), *turn(3, "b")).kinds()


def test_a_turn_is_acknowledged_at_a_place() -> None:
    assert two().add(50, 60, 0, "x").kinds() == [Kind.MOVED]


def test_no_two_turns_have_one_place() -> None:
    story = Story().chat("a", 10, 40, 1).chat("b", 10, 40, 1)
    assert story.kinds() == [Kind.SAME_PLACE]


def test_the_sequences_have_no_gap() -> None:
    story = Story().chat("a", 10, 20, 1).chat("b", 12, 40, verdict=UNSURE, before=("a", "re: a"))
    story.chat("c", 30, 50, 3, before=("a", "re: a"))
    assert story.read(60, 70, *turn(1, "a"), *turn(3, "c")).kinds() == []
    assert story.read(61, 71, *turn(1, "a"), (2, "b"), *turn(3, "c"), whole=True).kinds() == []
    story.read(62, 72, *turn(1, "a"), *turn(3, "c"), whole=True)
    assert story.kinds() == [Kind.GAP]


def test_the_sequences_begin_with_1_unless_the_session_was_cleared() -> None:
    story = Story().chat("a", 10, 20, 2).read(30, 40, *turn(2, "a"), whole=True)
    assert story.kinds() == [Kind.GAP]
    assert story.clear(1, 2).kinds() == []


def test_a_list_is_in_the_order_of_the_sequences() -> None:
    for whole in (False, True):
        story = Story().add(10, 20, 1, "x").add(10, 20, 2, "y")
        assert story.read(30, 40, (2, "y"), (1, "x"), whole=whole).kinds() == [Kind.ORDER]


def test_what_began_after_another_s_end_lies_behind_it() -> None:
    story = Story().chat("a", 10, 20, 2, before=("b", "re: b")).chat("b", 30, 40, 1)
    assert Kind.ORDER in story.kinds()
    overlapping = Story().chat("a", 10, 35, 2, before=("b", "re: b"), asked_at=34)
    assert overlapping.chat("b", 30, 40, 1).kinds() == []


def test_a_service_that_tells_no_sequences_is_judged_by_the_order_of_its_lists() -> None:
    story = Story().chat("a", 10, 20).chat("b", 30, 40, before=("a", "re: a"))
    assert story.read(50, 60, *turn(1, "a"), *turn(2, "b")).kinds() == []
    story.read(70, 80, *turn(1, "b"), *turn(2, "a"))
    assert story.kinds() == [Kind.ORDER]


# --- what the model was sent ---------------------------------------------------------------------


def test_the_model_is_sent_every_turn_before() -> None:
    story = Story().chat("a", 10, 20, 1).chat("b", 30, 40, 2)
    assert story.kinds() == [Kind.INPUT]


def test_the_model_is_sent_turns_that_were_not_acknowledged_yet() -> None:
    story = Story().chat("a", 10, 60, 1).chat("b", 10, 70, 2, before=("a", "re: a"), asked_at=50)
    assert story.kinds() == []
    story = Story().chat("a", 10, 60, 1).chat("b", 10, 70, 2, asked_at=50)
    assert story.kinds() == [Kind.INPUT]


def test_the_model_is_sent_no_turn_that_comes_later() -> None:
    story = Story().chat("a", 10, 60, 1, before=("b", "re: b"), asked_at=50)
    assert Kind.INPUT_LATER in story.chat("b", 10, 70, 2).kinds()


def test_the_model_is_sent_the_turns_in_their_order() -> None:
    """Of turns at the same time, too: which was first is known by their sequences."""
    first = ("a", "re: a")
    story = Story().chat("a", 10, 40, 1).chat("b", 10, 45, 2, before=first, asked_at=42)
    story.chat("c", 50, 60, 3, before=(*first, "b", "re: b"))
    assert story.kinds() == []
    last = story.history.asked[-1]
    story.history.asked[-1] = replace(last, before=(*last.before[2:], *last.before[:2]))
    assert story.kinds() == [Kind.ORDER]


def test_the_model_is_not_sent_the_turn_that_asks() -> None:
    story = Story().chat("a", 10, 20, 1, before=("a", "re: a"), asked_at=15)
    assert story.kinds() == [Kind.INPUT_LATER]


def test_the_model_is_sent_no_half_turn() -> None:
    story = Story().chat("a", 10, 20, 1).chat("b", 30, 40, 2, before=("a",))
    assert story.kinds() == [Kind.HALF]


# --- clear ---------------------------------------------------------------------------------------


def test_what_was_cleared_is_gone_and_what_began_after_is_there() -> None:
    story = two().clear(50, 60).chat("c", 70, 80, 4)
    assert story.read(90, 99, *turn(4, "c")).kinds() == []


def test_what_was_cleared_does_not_reappear() -> None:
    story = two().clear(50, 60).read(70, 80, *turn(1, "a"), *turn(2, "b"))
    assert story.kinds() == [Kind.REAPPEARED, Kind.REAPPEARED]


def test_what_was_cleared_is_not_sent_to_the_model() -> None:
    story = two().clear(50, 60).chat("c", 70, 80, 4, before=("a", "re: a", "b", "re: b"))
    assert Kind.REAPPEARED in story.kinds()


def test_a_clear_is_seen_whole() -> None:
    assert two().clear(50, 90).read(60, 70, *turn(1, "a"), *turn(2, "b")).kinds() == []
    assert two().clear(50, 90).read(60, 70).kinds() == []
    assert two().clear(50, 90).read(60, 70, *turn(1, "a")).kinds() == [Kind.CLEARED_IN_PART]
    assert two().clear(50, 90).read(60, 70, *turn(2, "b")).kinds() == [Kind.LOST]


@pytest.mark.parametrize("verdict", [OK, UNSURE])
def test_a_clear_that_was_seen_is_seen_from_then_on(verdict: Verdict) -> None:
    """Also before it is acknowledged, or if it never is."""
    story = two().clear(50, 90, verdict).read(55, 60)
    assert story.read(58, 70, *turn(1, "a"), *turn(2, "b")).kinds() == []
    story.read(65, 80, *turn(1, "a"), *turn(2, "b"))
    assert story.kinds() == [Kind.REAPPEARED, Kind.REAPPEARED]


def test_a_clear_takes_nothing_that_began_after_it() -> None:
    assert two().clear(1, 5).read(50, 60).kinds() == [Kind.LOST, Kind.LOST]


def test_an_unsure_clear_may_take_effect_later() -> None:
    story = Story().clear(1, 5, UNSURE).chat("a", 10, 20, 1)
    assert story.read(30, 40).kinds() == []
    assert story.read(25, 28, *turn(1, "a")).kinds() == []


def test_a_call_during_which_its_session_was_cleared_may_be_stored_again() -> None:
    """Its first attempt was stored and cleared, request_id and all; its second is another turn."""
    story = Story().chat("a", 10, 60, 3, asked_at=50)
    story.history.asked.insert(0, ModelCall(9, 12, "a", (), "the first"))
    story.read(20, 25, (1, "a"), (1, "the first")).clear(30, 35).read(40, 45)
    story.history.calls[1] = replace(
        story.history.calls[1], seen=(Seen(1, "user", "a"), Seen(1, "assistant", "the first"))
    )
    assert story.read(70, 80, *turn(3, "a")).kinds() == []


def test_what_is_known_of_a_turn_s_first_life_says_nothing_about_the_order_of_its_second() -> None:
    """Seen, cleared, and then stored again above one that began in between."""
    story = Story().chat("a", 10, 90, 5, asked_at=80, before=("b", "re: b"))
    story.history.asked.insert(0, ModelCall(9, 12, "a", (), "re: a, at first"))
    story.read(20, 25, (1, "a"), (1, "re: a, at first")).clear(30, 40)
    assert story.chat("b", 50, 60, 4).kinds() == []


def test_a_model_may_be_sent_the_first_of_two_lives_of_a_turn() -> None:
    story = Story().add(10, 60, 4, "x").chat("b", 20, 25, 2, before=("x",))
    story.clear(30, 35).read(70, 80, (4, "x"))
    assert story.kinds() == []


def test_the_violation_that_was_seen_first_is_told_first() -> None:
    """Whatever became of its session later; its clears are told with it."""
    story = two().read(50, 60, *turn(1, "a")).chat("c", 70, 80, 3, reply="invented").clear(98, 99)
    first = check(story.history)[0]
    assert (first.kind, first.at) == (Kind.LOST, 50)
    assert "clear ok" in first.told()


# --- the tool itself -----------------------------------------------------------------------------


def test_a_text_that_two_calls_send_is_the_workload_s_mistake() -> None:
    with pytest.raises(ValueError, match="two calls say 'a'"):
        Story().chat("a", 10, 20, 1).add(30, 40, 2, "a").kinds()


def test_a_history_that_was_kept_in_a_file_is_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    history = two().clear(50, 60).read(70, 80).history
    history.write(good)
    two().read(50, 60, *turn(1, "a")).history.write(bad)
    assert History.read(good) == history
    assert main(good) == 0
    assert main(bad) == 1
    said = capsys.readouterr().out
    assert "3 calls, 2 model calls\n1 x acknowledged turn lost\n" in said
    assert "'b' is not there" in said
    assert "call 3, list ok, r3, saw [1 user 'a'; 1 assistant 're: a']" in said


# --- at random -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 40))
def test_a_history_of_a_service_that_keeps_its_promises_is_fine(seed: int, calls: int) -> None:
    history = Service(random.Random(seed)).live(calls)
    assert [each.told() for each in check(history)] == []


# Ways to spoil a history. Each returns None where there is nothing to spoil.


def _last_list(history: History) -> Call:
    return history.calls[-2]


def _with(history: History, *changed: Call) -> History:
    by_id = {call.id: call for call in changed}
    return History([by_id.get(call.id, call) for call in history.calls], list(history.asked))


def _turns(call: Call) -> list[tuple[Seen, ...]]:
    turns: dict[int, tuple[Seen, ...]] = {}
    for each in call.seen:
        turns[each.sequence] = (*turns.get(each.sequence, ()), each)
    return list(turns.values())


def _reading(history: History, turns: list[tuple[Seen, ...]]) -> History:
    seen = tuple(each for turn in turns for each in turn)
    return _with(history, replace(_last_list(history), seen=seen))


def _kept(history: History) -> set[str]:
    """What was acknowledged, and no clear can have taken."""
    cleared = max((call.ended for call in history.calls if call.op is Op.CLEAR), default=0)
    return {
        text for call in history.calls if call.ok and call.started > cleared for text in call.texts
    }


def lose(history: History, dice: random.Random) -> History | None:
    turns = _turns(_last_list(history))
    known = [n for n, each in enumerate(turns) if each[0].text in _kept(history)]
    if not known:
        return None
    del turns[dice.choice(known)]
    return _reading(history, turns)


def double(history: History, dice: random.Random) -> History | None:
    turns = _turns(_last_list(history))
    return _reading(history, [*turns, dice.choice(turns)]) if turns else None


def halve(history: History, dice: random.Random) -> History | None:
    turns = _turns(_last_list(history))
    long = [n for n, each in enumerate(turns) if len(each) > 1]
    if not long:
        return None
    number = dice.choice(long)
    gone = dice.randrange(len(turns[number]))
    turns[number] = turns[number][:gone] + turns[number][gone + 1 :]
    return _reading(history, turns)


def _tells_sequences(history: History) -> bool:
    """Whether a turn was acknowledged with its place; else places may mean nothing."""
    return any(call.sequence for call in history.calls)


def swap(history: History, dice: random.Random) -> History | None:
    turns = _turns(_last_list(history))
    if len(turns) < 2 or not _tells_sequences(history):
        return None
    n = dice.randrange(len(turns) - 1)
    turns[n], turns[n + 1] = turns[n + 1], turns[n]
    return _reading(history, turns)


def change_reply(history: History, dice: random.Random) -> History | None:
    seen = list(_last_list(history).seen)
    replies = [n for n, each in enumerate(seen) if each.text.startswith("reply")]
    if not replies:
        return None
    n = dice.choice(replies)
    others = [each.answer for each in history.asked if each.answer != seen[n].text]
    seen[n] = replace(seen[n], text=dice.choice([*others, "invented"]))
    return _with(history, replace(_last_list(history), seen=tuple(seen)))


def store_refused(history: History, dice: random.Random) -> History | None:
    refused = [call for call in history.calls if call.verdict is REFUSED]
    if not refused:
        return None
    call = replace(dice.choice(refused), op=Op.ADD)
    last = _last_list(history)
    head = max((each.sequence for each in last.seen), default=0) + 1
    seen = (*last.seen, Seen(head, "user", call.texts[0]))
    return _with(history, call, replace(last, seen=seen))


def forget_input(history: History, dice: random.Random) -> History | None:
    kept = _kept(history)
    long = [
        (n, place)
        for n, each in enumerate(history.asked)
        if each.question in kept
        for place, (_, text) in enumerate(each.before)
        if text in kept
    ]
    if not long:
        return None
    n, gone = dice.choice(long)
    asked = list(history.asked)
    before = asked[n].before
    asked[n] = replace(asked[n], before=before[:gone] + before[gone + 1 :])
    return History(list(history.calls), asked)


def move(history: History, dice: random.Random) -> History | None:
    placed = [call for call in history.calls if call.sequence]
    if len(placed) < 2:
        return None
    one, other = dice.sample(placed, 2)
    return _with(history, replace(one, sequence=other.sequence))


def ask_again(history: History, dice: random.Random) -> History | None:
    done = [call for call in history.calls if call.ok and call.asks]
    if not done:
        return None
    call = dice.choice(done)
    again = ModelCall(9_999, call.ended + 1, call.texts[0], (), "again")
    return History(list(history.calls), [*history.asked, again])


def raise_the_dead(history: History, dice: random.Random) -> History | None:
    clears = [call for call in history.calls if call.op is Op.CLEAR]
    dead = [
        call
        for call in history.calls
        if call.sequence and call.ok and any(call.ended < clear.started for clear in clears)
    ]
    if not dead:
        return None
    call = dice.choice(dead)
    back = [Seen(call.sequence, "user", each) for each in call.texts]
    back = [replace(each, role="assistant" if n % 2 else "user") for n, each in enumerate(back)]
    if call.asks:
        back.append(Seen(call.sequence, "assistant", call.reply))
    return _reading(history, [tuple(back), *_turns(_last_list(history))])


def leave_a_gap(history: History, dice: random.Random) -> History | None:
    last = history.calls[-1]
    places = sorted({each.sequence for each in last.seen})
    if len(places) < 3 or not _tells_sequences(history):
        return None
    gone = dice.choice(places[1:-1])
    seen = tuple(each for each in last.seen if each.sequence != gone)
    return _with(history, replace(last, seen=seen))


@pytest.mark.parametrize(
    "spoil",
    [
        lose,
        double,
        halve,
        swap,
        change_reply,
        store_refused,
        forget_input,
        move,
        ask_again,
        raise_the_dead,
        leave_a_gap,
    ],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(seed=st.integers(0, 10**9), calls=st.integers(1, 40))
def test_a_spoilt_history_is_found(
    spoil: Callable[[History, random.Random], History | None], seed: int, calls: int
) -> None:
    dice = random.Random(seed)
    spoilt = spoil(Service(dice).live(calls), dice)
    assume(spoilt is not None)
    assert spoilt
    assert check(spoilt)
