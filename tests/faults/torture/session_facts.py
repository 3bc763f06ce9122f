"""One session of a history: its calls, the views of it, and what they tell of each turn."""

from collections.abc import Iterable, Sequence

from tests.faults.torture.calls import NEVER, Call, ModelCall, Op, Verdict
from tests.faults.torture.views import Book, View, listed, sent, take_apart
from tests.faults.torture.violations import Kind, Violation


class SessionFacts:
    """What is known of a session, and what was found wrong with it.

    `writers`: the calls that add a turn, by their ids, which are the keys of all that is told of
    turns; `clears`; `views`: what was read or sent to the model, in order of time, taken apart;
    `all_lists`: the reads that show failed turns too.
    """

    def __init__(
        self,
        name: str,
        calls: Sequence[Call],
        asked: Iterable[ModelCall],
        book: Book,
        *,
        tells_sequences: bool,
    ) -> None:
        """`tells_sequences`: whether the service knows any; else rules about them find nothing."""
        self._name = name
        self.book = book
        self.tells_sequences = tells_sequences
        self._found: dict[tuple[Kind, int], Violation] = {}
        self.writers = {call.id: call for call in calls if call.writes}
        self.clears = [call for call in calls if call.op is Op.CLEAR]
        lists = [each for each in calls if each.op is Op.LIST and each.ok]
        self.all_lists = [each for each in lists if each.unfinished]
        views = [listed(each, tells=tells_sequences) for each in lists if not each.unfinished]
        views += [sent(each, book.writers[each.question][0]) for each in asked]
        self.views = sorted(views, key=lambda view: view.started)
        self.twice = {each.id for each in self.writers.values() if self._cleared_during(each)}
        """The turns that may have been stored, cleared and stored again."""
        self.places: dict[int, int] = {}
        self.replies: dict[int, str] = {}
        self.known_by: dict[int, int] = {}
        """A time by which the turn had taken effect, if it did."""
        for view in self.views:
            take_apart(view, book, self.complain)
            self._drop_strangers(view)
        self._learn()

    @property
    def found(self) -> Iterable[Violation]:
        """One a kind and call."""
        return self._found.values()

    def complain(self, kind: Kind, what: str, *records: Call | ModelCall | None) -> None:
        """Notes a violation; `records` show it, the first of them is whose it is."""
        shown = tuple(each for each in records if each is not None)
        first = shown[0].id if shown else 0
        # The ids of model calls are numbers of their own.
        key = -first - 1 if shown and isinstance(shown[0], ModelCall) else first
        context = tuple(each for each in self.clears if each not in shown)
        violation = Violation(kind, self._name, what, shown, context)
        self._found.setdefault((kind, key), violation)

    def clear_between(self, after: int, before: int) -> bool:
        """Whether a clear may have taken effect between the two times."""
        return any(each.settled > after and each.started < before for each in self.clears)

    def ordered(self, call: Call, above: Call | None) -> Call | None:
        """Checks a turn against the earliest known of those above it; the earliest with it.

        Not with one that may have been there twice: it may be known from its first life.
        """
        if call.id in self.twice:
            return above
        if above and self.known_by[above.id] < call.started:
            what = f"{above.texts[0]!r} lies behind {call.texts[0]!r}, which began after its end"
            self.complain(Kind.ORDER, what, call, above)
        if above is None or self.known_by[call.id] < self.known_by[above.id]:
            return call
        return above

    def check_refused(self, call: Call, seen_by: Call | ModelCall, started: int) -> None:
        """What was refused is nowhere, not even as a turn that failed."""
        refused = call.verdict is Verdict.REFUSED
        if refused and (call.id not in self.twice or started > call.ended):
            self.complain(Kind.REFUSED, f"{call.texts[0]!r}", call, seen_by)

    def _cleared_during(self, call: Call) -> bool:
        until = call.ended if call.ok else NEVER
        return any(c.settled > call.started and c.started < until for c in self.clears)

    def _drop_strangers(self, view: View) -> None:
        for call in [each.call for each in view.turns.values()]:
            if call.session != self._name:
                what = f"{call.texts[0]!r} is of session {call.session}"
                self.complain(Kind.UNKNOWN, what, call, view.source)
                del view.turns[call.id]

    def _learn(self) -> None:
        """Each turn's place, reply, and a time by which it had taken effect."""
        for call in self.writers.values():
            self.known_by[call.id] = call.settled
            if call.ok:
                self.replies[call.id] = call.reply
            if call.ok and call.sequence:
                self.places[call.id] = call.sequence
        for view in self.views:
            for turn in view.turns.values():
                call = turn.call
                self.known_by[call.id] = min(self.known_by.get(call.id, NEVER), view.ended)
                if call.id in self.twice:
                    continue
                if self.tells_sequences and turn.sequence:
                    place = self.places.setdefault(call.id, turn.sequence)
                    if place != turn.sequence:
                        what = f"{call.texts[0]!r} at {turn.sequence}, not at {place}"
                        self.complain(Kind.MOVED, what, call, view.source)
                reply = self.replies.setdefault(call.id, turn.reply)
                if call.asks and reply != turn.reply:
                    what = f"{call.texts[0]!r} has {turn.reply!r}, not {reply!r}"
                    self.complain(Kind.REPLY_CHANGED, what, call, view.source)
