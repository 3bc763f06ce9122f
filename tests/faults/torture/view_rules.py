"""What holds for each view: a list that was read, or the history that a model was sent."""

from tests.faults.torture.calls import NEVER, Call, ModelCall
from tests.faults.torture.session_facts import SessionFacts
from tests.faults.torture.views import View
from tests.faults.torture.violations import Kind


def check_views(facts: SessionFacts) -> None:
    """Complains of views that show too much, too little, or in another order."""
    _Views(facts).check()


class _Views:
    def __init__(self, facts: SessionFacts) -> None:
        self._facts = facts
        self._gone_by: dict[int, int] = {}
        """When a read that missed a turn had ended: a clear had taken it by then."""

    def check(self) -> None:
        """Sweeps over the views in order of time, with what each of them must know by then."""
        # (known from when, there not before when, whose).
        known = [(c.ended, c.started, c) for c in self._facts.writers.values() if c.ok]
        known += [
            (v.ended, max(v.started, t.call.started), t.call)
            for v in self._facts.views
            for t in v.turns.values()
        ]
        known.sort(key=lambda each: each[0], reverse=True)
        alive: dict[int, int] = {}
        for view in self._facts.views:
            while known and known[-1][0] < view.started:
                _, since, call = known.pop()
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
                self._facts.complain(Kind.FUTURE, f"{text!r}", call, view.source)
            self._facts.check_refused(call, view.source, view.started)
            was_gone = self._gone_by.get(call.id, NEVER) < view.started
            if was_gone and call.id not in self._facts.twice:
                what = f"{text!r} was gone, and is there again"
                self._facts.complain(Kind.REAPPEARED, what, call, view.source)
            for clear in self._facts.clears:
                if call.settled < clear.started and clear.settled < view.started:
                    what = f"{text!r} was cleared"
                    self._facts.complain(Kind.REAPPEARED, what, call, clear, view.source)
            above = self._facts.ordered(call, above)
        places = [each.sequence for each in view.turns.values() if each.sequence]
        if view.of_model:
            # It is sent none, but those that were acknowledged or listed are known.
            surely = (each for each in view.turns if each not in self._facts.twice)
            places = [self._facts.places[each] for each in surely if each in self._facts.places]
        if self._facts.tells_sequences and places != sorted(set(places)):
            self._facts.complain(Kind.ORDER, f"in the order of the sequences {places}", view.source)

    def _check_missing(self, view: View, alive: dict[int, int]) -> None:
        """Everything is there that was known before the read began, but for what was cleared."""
        earliest = min(
            (t.call for t in view.turns.values() if t.call.id not in self._facts.twice),
            key=lambda call: self._facts.known_by[call.id],
            default=None,
        )
        for each, since in alive.items():
            call = self._facts.writers[each]
            if each in view.touched or call is view.by:
                continue
            if not self._facts.clear_between(since, view.ended):
                kind = Kind.INPUT if view.of_model else Kind.LOST if call.ok else Kind.WENT_BACK
                self._facts.complain(kind, f"{call.texts[0]!r} is not there", call, view.source)
                continue
            self._gone_by[each] = min(self._gone_by.get(each, NEVER), view.ended)
            if earliest and self._facts.known_by[earliest.id] < call.started:
                what = f"{call.texts[0]!r} is gone, {earliest.texts[0]!r} before it is not"
                self._facts.complain(Kind.CLEARED_IN_PART, what, call, earliest, view.source)

    def _check_before(self, view: View) -> None:
        """By their places: below a turn that is there, or was being asked, all are there.

        A turn has its place only when those below it are done, so they need not be acknowledged.
        """
        if view.by and view.by.id in view.turns:
            self._facts.complain(
                Kind.INPUT_LATER, f"{view.by.texts[0]!r} itself", view.by, view.source
            )
        own = self._place_of_asked(view)
        placed = {
            self._facts.places[each]: turn.call
            for each, turn in view.turns.items()
            if each in self._facts.places and each not in self._facts.twice
        }
        top = own or max(placed, default=0)
        lowest = placed[min(placed)] if placed else None
        until = min(view.ended, self._facts.known_by[lowest.id] if lowest else NEVER)
        for each, place in self._facts.places.items():
            call = self._facts.writers[each]
            if own and place > own and each in view.turns and each not in self._facts.twice:
                self._facts.complain(Kind.INPUT_LATER, f"{call.texts[0]!r}", call, view.source)
            if place >= top or each in view.touched:
                continue
            what = f"{call.texts[0]!r} at {place} is not there"
            if lowest and place > min(placed):
                kind = Kind.INPUT if view.of_model else Kind.CLEARED_IN_PART
                self._facts.complain(
                    kind, f"{what}, {lowest.texts[0]!r} is", call, lowest, view.source
                )
            elif not self._facts.clear_between(call.started, until):
                kind = Kind.INPUT if view.of_model else Kind.LOST
                self._facts.complain(kind, what, call, view.source)

    def _place_of_asked(self, view: View) -> int:
        """The place of the turn that a model's input led to; 0 if it led to none that is known."""
        if view.by is None or not isinstance(view.source, ModelCall):
            return 0
        led_to_it = self._facts.replies.get(view.by.id) == view.source.answer
        return self._facts.places.get(view.by.id, 0) if led_to_it else 0
