"""What holds for each turn: its place, its order, its reply."""

from tests.faults.torture.calls import Call
from tests.faults.torture.session_facts import SessionFacts
from tests.faults.torture.violations import Kind


def check_turns(facts: SessionFacts) -> None:
    """Complains of turns that break a rule by what was acknowledged, or by what a list shows."""
    _check_places(facts)
    _check_sequences(facts)
    for call in facts.writers.values():
        _check_answer(facts, call)


def _check_places(facts: SessionFacts) -> None:
    """One turn a place, and no turn that began after another one's end lies before it."""
    ordered = sorted(facts.places, key=lambda each: facts.places[each], reverse=True)
    above: Call | None = None
    for number, each in enumerate(ordered):
        call = facts.writers[each]
        if number and facts.places[ordered[number - 1]] == facts.places[each]:
            what = f"both at {facts.places[each]}"
            facts.complain(Kind.SAME_PLACE, what, call, facts.writers[ordered[number - 1]])
        above = facts.ordered(call, above)


def _check_sequences(facts: SessionFacts) -> None:
    """A session read whole is in order, has no gap and nothing that was refused, and one turn a
    place; it begins with 1 unless it was cleared."""
    for view in facts.all_lists if facts.tells_sequences else ():
        owners: dict[int, set[int]] = {}
        for each in view.seen:
            call = facts.book.caller(each.text)
            owners.setdefault(each.sequence, set()).update({call.id} if call else set())
        if list(owners) != sorted(owners):
            facts.complain(Kind.ORDER, f"listed with the sequences {list(owners)}", view)
        places = sorted(owners)
        if places and places != list(range(places[0], places[-1] + 1)):
            facts.complain(Kind.GAP, f"the sequences are {places}", view)
        if places and places[0] != 1 and not facts.clears:
            facts.complain(Kind.GAP, f"the first is {places[0]}", view)
        for place, calls in owners.items():
            if len(calls) > 1:
                both = [facts.writers[each] for each in calls if each in facts.writers]
                facts.complain(Kind.SAME_PLACE, f"at {place}", view, *both)
            for each in calls & facts.writers.keys():
                facts.check_refused(facts.writers[each], view, view.started)


def _check_answer(facts: SessionFacts, call: Call) -> None:
    """The reply is the last answer to that question: after it the model was not asked again."""
    if not call.ok:
        return
    if call.streamed is not None and call.streamed != call.reply:
        facts.complain(Kind.STREAM, f"{call.streamed!r}, then {call.reply!r}", call)
    if facts.tells_sequences and not call.sequence:
        facts.complain(Kind.MOVED, f"{call.texts[0]!r} was acknowledged at no place", call)
    if not call.asks:
        return
    asked = facts.book.asked.get(call.texts[0], [])
    kept = facts.book.answers.get(call.reply)
    if kept is None or kept.question != call.texts[0]:
        what = f"{call.texts[0]!r} was answered {call.reply!r}"
        facts.complain(Kind.REPLY, what, call, *asked)
    elif asked[-1] is not kept:
        what = f"{len(asked)} times for {call.texts[0]!r}"
        facts.complain(Kind.ASKED_AGAIN, what, call, *asked)
