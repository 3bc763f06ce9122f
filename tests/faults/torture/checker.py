"""Whether a history keeps the promises: what is there, in which order, and what the model was sent.

    python -m tests.faults.torture.checker FILE

Sessions are independent, so each is checked alone (locality: Herlihy and Wing, "Linearizability",
1990; "P-compositionality" in https://github.com/anishathalye/porcupine). To search for an order
that explains everything is exponential in general. Here it is not needed: every text is unique and
a session is a log, so whoever reads it tells its order, as in Elle's list-append histories
(Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", 2020).
What is left is to compare intervals. Time: linear in the calls, times the length of a session.

A call that was acknowledged took effect once between its start and its end. One that is UNSURE did
so at any time after its start, or never. A call during which its session was cleared may have taken
effect before the clear, which also forgets its request_id, and, sent again, once more after it:
such calls are judged less strictly (`_twice`).

The window and the summary are not checked: sessions are to be shorter than the window. The service
need not tell sequences: then those rules have nothing to look at.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.torture.calls import NEVER, Call, History, ModelCall, Op, Verdict
from tests.faults.torture.views import Book, View, listed, sent, sessions_of, take_apart
from tests.faults.torture.violations import Kind, Violation


def check(history: History) -> list[Violation]:
    """Every violation, the first one seen first; one a kind and call. ValueError: no history."""
    book = Book.of(history)
    found: list[Violation] = []
    tells = any(call.sequence for call in history.calls)
    asked = _asked_by_session(history.asked, book, found)
    for name, calls in sessions_of(history.calls).items():
        found += _Session(name, calls, asked.get(name, []), book, tells_sequences=tells).check()
    return sorted(found, key=lambda each: each.at)


def counted(violations: Iterable[Violation]) -> Counter[str]:
    """How many there are of each kind."""
    return Counter(each.kind.value for each in violations)


def _asked_by_session(
    asked: Iterable[ModelCall], book: Book, found: list[Violation]
) -> dict[str, list[ModelCall]]:
    sessions: dict[str, list[ModelCall]] = {}
    for each in asked:
        call, _ = book.writers.get(each.question, (None, 0))
        if call is None or not call.asks:
            found.append(Violation(Kind.UNKNOWN, "?", "a question nobody asked", (each,)))
        else:
            sessions.setdefault(call.session, []).append(each)
    return sessions


class _Session:
    """One session's calls, and what is found wrong with them."""

    def __init__(
        self,
        name: str,
        calls: Sequence[Call],
        asked: Iterable[ModelCall],
        book: Book,
        *,
        tells_sequences: bool,
    ) -> None:
        self._name = name
        self._book = book
        self._tells = tells_sequences
        self._found: dict[tuple[Kind, int], Violation] = {}
        self._writers = {call.id: call for call in calls if call.writes}
        self._clears = [call for call in calls if call.op is Op.CLEAR]
        lists = [each for each in calls if each.op is Op.LIST and each.ok]
        self._all_lists = [each for each in lists if each.unfinished]
        views = [listed(each, tells=tells_sequences) for each in lists if not each.unfinished]
        views += [sent(each, book.writers[each.question][0]) for each in asked]
        self._views = sorted(views, key=lambda view: view.started)
        self._twice = {each.id for each in self._writers.values() if self._cleared_during(each)}
        self._places: dict[int, int] = {}
        self._replies: dict[int, str] = {}
        self._known_by: dict[int, int] = {}
        self._gone_by: dict[int, int] = {}
        """When a read that missed a turn had ended: a clear had taken it by then."""

    def check(self) -> Iterable[Violation]:
        """All rules, those first that the others rest on."""
        for view in self._views:
            take_apart(view, self._book, self._complain)
            self._drop_strangers(view)
        self._learn()
        self._check_places()
        self._check_sequences()
        for call in self._writers.values():
            self._check_answer(call)
        self._check_views()
        return self._found.values()

    def _drop_strangers(self, view: View) -> None:
        for call in [each.call for each in view.turns.values()]:
            if call.session != self._name:
                what = f"{call.texts[0]!r} is of session {call.session}"
                self._complain(Kind.UNKNOWN, what, call, view.source)
                del view.turns[call.id]

    # --- what is known of each turn -------------------------------------------------------------

    def _learn(self) -> None:
        """Each turn's place, reply, and a time by which it had taken effect."""
        for call in self._writers.values():
            self._known_by[call.id] = call.settled
            if call.ok:
                self._replies[call.id] = call.reply
            if call.ok and call.sequence:
                self._places[call.id] = call.sequence
        for view in self._views:
            for turn in view.turns.values():
                call = turn.call
                self._known_by[call.id] = min(self._known_by.get(call.id, NEVER), view.ended)
                if call.id in self._twice:
                    continue
                if self._tells and turn.sequence:
                    place = self._places.setdefault(call.id, turn.sequence)
                    if place != turn.sequence:
                        what = f"{call.texts[0]!r} at {turn.sequence}, not at {place}"
                        self._complain(Kind.MOVED, what, call, view.source)
                reply = self._replies.setdefault(call.id, turn.reply)
                if call.asks and reply != turn.reply:
                    what = f"{call.texts[0]!r} has {turn.reply!r}, not {reply!r}"
                    self._complain(Kind.REPLY_CHANGED, what, call, view.source)

    def _cleared_during(self, call: Call) -> bool:
        until = call.ended if call.ok else NEVER
        return any(c.settled > call.started and c.started < until for c in self._clears)

    def _clear_between(self, after: int, before: int) -> bool:
        """Whether a clear may have taken effect between the two times."""
        return any(each.settled > after and each.started < before for each in self._clears)

    # --- places and sequences -------------------------------------------------------------------

    def _check_places(self) -> None:
        """One turn a place, and no turn that began after another one's end lies before it."""
        ordered = sorted(self._places, key=lambda each: self._places[each], reverse=True)
        above: Call | None = None
        for number, each in enumerate(ordered):
            call = self._writers[each]
            if number and self._places[ordered[number - 1]] == self._places[each]:
                what = f"both at {self._places[each]}"
                self._complain(Kind.SAME_PLACE, what, call, self._writers[ordered[number - 1]])
            above = self._ordered(call, above)

    def _ordered(self, call: Call, above: Call | None) -> Call:
        """Checks a turn against the earliest known of those above it; the earliest with it."""
        if call.id in self._twice:
            return above or call
        if above and self._known_by[above.id] < call.started:
            what = f"{above.texts[0]!r} lies behind {call.texts[0]!r}, which began after its end"
            self._complain(Kind.ORDER, what, call, above)
        if above is None or self._known_by[call.id] < self._known_by[above.id]:
            return call
        return above

    def _check_sequences(self) -> None:
        """A session read whole has no gap, begins with 1 unless it was cleared, and one turn a
        place."""
        for view in self._all_lists if self._tells else ():
            owners: dict[int, set[int]] = {}
            for each in view.seen:
                call = self._book.caller(each.text)
                owners.setdefault(each.sequence, set()).update({call.id} if call else set())
            if list(owners) != sorted(owners):
                self._complain(Kind.ORDER, f"listed with the sequences {list(owners)}", view)
            places = sorted(owners)
            if places and places != list(range(places[0], places[-1] + 1)):
                self._complain(Kind.GAP, f"the sequences are {places}", view)
            if places and places[0] != 1 and not self._clears:
                self._complain(Kind.GAP, f"the first is {places[0]}", view)
            for place, calls in owners.items():
                if len(calls) > 1:
                    both = [self._writers[each] for each in calls if each in self._writers]
                    self._complain(Kind.SAME_PLACE, f"at {place}", view, *both)
                for each in calls & self._writers.keys():
                    self._check_refused(self._writers[each], view, view.started)

    # --- answers --------------------------------------------------------------------------------

    def _check_answer(self, call: Call) -> None:
        """The reply is the last answer to that question: after it the model was not asked again."""
        if not call.ok:
            return
        if call.streamed is not None and call.streamed != call.reply:
            self._complain(Kind.STREAM, f"{call.streamed!r}, then {call.reply!r}", call)
        if self._tells and not call.sequence:
            self._complain(Kind.MOVED, f"{call.texts[0]!r} was acknowledged at no place", call)
        if not call.asks:
            return
        asked = self._book.asked.get(call.texts[0], [])
        kept = self._book.answers.get(call.reply)
        if kept is None or kept.question != call.texts[0]:
            what = f"{call.texts[0]!r} was answered {call.reply!r}"
            self._complain(Kind.REPLY, what, call, *asked)
        elif asked[-1] is not kept:
            what = f"{len(asked)} times for {call.texts[0]!r}"
            self._complain(Kind.ASKED_AGAIN, what, call, *asked)

    # --- what was read --------------------------------------------------------------------------

    def _check_views(self) -> None:
        """Sweeps over the views in order of time, with what each of them must know by then."""
        # What is known: (from when, not before when, whose).
        facts = [(c.ended, c.started, c) for c in self._writers.values() if c.ok]
        facts += [
            (v.ended, max(v.started, t.call.started), t.call)
            for v in self._views
            for t in v.turns.values()
        ]
        facts.sort(key=lambda fact: fact[0], reverse=True)
        alive: dict[int, int] = {}
        for view in self._views:
            while facts and facts[-1][0] < view.started:
                _, since, call = facts.pop()
                alive[call.id] = max(alive.get(call.id, 0), since)
            self._check_seen(view)
            self._check_missing(view, alive)
            self._check_before(view)

    def _check_seen(self, view: View) -> None:
        """Nothing is there that must not be, and all is in order."""
        above: Call | None = None
        for turn in reversed(view.turns.values()):
            call = turn.call
            text = call.texts[0]
            if call.started > view.ended:
                self._complain(Kind.FUTURE, f"{text!r}", call, view.source)
            self._check_refused(call, view.source, view.started)
            if call.id not in self._twice and self._gone_by.get(call.id, NEVER) < view.started:
                what = f"{text!r} was gone, and is there again"
                self._complain(Kind.REAPPEARED, what, call, view.source)
            for clear in self._clears:
                if call.settled < clear.started and clear.settled < view.started:
                    what = f"{text!r} was cleared"
                    self._complain(Kind.REAPPEARED, what, call, clear, view.source)
            above = self._ordered(call, above)
        places = [each.sequence for each in view.turns.values() if each.sequence]
        if view.of_model:
            # It is sent none, but those that were acknowledged or listed are known.
            surely = (each for each in view.turns if each not in self._twice)
            places = [self._places[each] for each in surely if each in self._places]
        if self._tells and places != sorted(set(places)):
            self._complain(Kind.ORDER, f"in the order of the sequences {places}", view.source)

    def _check_refused(self, call: Call, seen_by: Call | ModelCall, started: int) -> None:
        """What was refused is nowhere, not even as a turn that failed."""
        refused = call.verdict is Verdict.REFUSED
        if refused and (call.id not in self._twice or started > call.ended):
            self._complain(Kind.REFUSED, f"{call.texts[0]!r}", call, seen_by)

    def _check_missing(self, view: View, alive: dict[int, int]) -> None:
        """Everything is there that was known before the read began, but for what was cleared."""
        earliest = min(
            (t.call for t in view.turns.values() if t.call.id not in self._twice),
            key=lambda call: self._known_by[call.id],
            default=None,
        )
        for each, since in alive.items():
            call = self._writers[each]
            if each in view.touched or call is view.by:
                continue
            if not self._clear_between(since, view.ended):
                kind = Kind.INPUT if view.of_model else Kind.LOST if call.ok else Kind.WENT_BACK
                self._complain(kind, f"{call.texts[0]!r} is not there", call, view.source)
                continue
            self._gone_by[each] = min(self._gone_by.get(each, NEVER), view.ended)
            if earliest and self._known_by[earliest.id] < call.started:
                what = f"{call.texts[0]!r} is gone, {earliest.texts[0]!r} before it is not"
                self._complain(Kind.CLEARED_IN_PART, what, call, earliest, view.source)

    def _check_before(self, view: View) -> None:
        """By their places: below a turn that is there, or was being asked, all are there.

        A turn has its place only when those below it are done, so they need not be acknowledged.
        """
        if view.by and view.by.id in view.turns:
            self._complain(Kind.INPUT_LATER, f"{view.by.texts[0]!r} itself", view.by, view.source)
        own = self._place_of_asked(view)
        placed = {
            self._places[each]: turn.call
            for each, turn in view.turns.items()
            if each in self._places and each not in self._twice
        }
        top = own or max(placed, default=0)
        lowest = placed[min(placed)] if placed else None
        until = min(view.ended, self._known_by[lowest.id] if lowest else NEVER)
        for each, place in self._places.items():
            call = self._writers[each]
            if own and place > own and each in view.turns and each not in self._twice:
                self._complain(Kind.INPUT_LATER, f"{call.texts[0]!r}", call, view.source)
            if place >= top or each in view.touched:
                continue
            what = f"{call.texts[0]!r} at {place} is not there"
            if lowest and place > min(placed):
                kind = Kind.INPUT if view.of_model else Kind.CLEARED_IN_PART
                self._complain(kind, f"{what}, {lowest.texts[0]!r} is", call, lowest, view.source)
            elif not self._clear_between(call.started, until):
                kind = Kind.INPUT if view.of_model else Kind.LOST
                self._complain(kind, what, call, view.source)

    def _place_of_asked(self, view: View) -> int:
        """The place of the turn that a model's input led to; 0 if it led to none that is known."""
        if view.by is None or not isinstance(view.source, ModelCall):
            return 0
        led_to_it = self._replies.get(view.by.id) == view.source.answer
        return self._places.get(view.by.id, 0) if led_to_it else 0

    def _complain(self, kind: Kind, what: str, *records: Call | ModelCall | None) -> None:
        shown = tuple(each for each in records if each is not None)
        first = shown[0].id if shown else 0
        # The ids of model calls are numbers of their own.
        key = -first - 1 if shown and isinstance(shown[0], ModelCall) else first
        context = tuple(each for each in self._clears if each not in shown)
        violation = Violation(kind, self._name, what, shown, context)
        self._found.setdefault((kind, key), violation)


def main(path: Path) -> int:
    """Checks a history that was kept in a file; prints what is wrong. 1: something is."""
    history = History.read(path)
    violations = check(history)
    print(f"{len(history.calls)} calls, {len(history.asked)} model calls")
    for kind, count in counted(violations).items():
        print(f"{count} x {kind}")
    if violations:
        print(violations[0].told())
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
