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
such calls are judged less strictly (`SessionFacts.twice`).

The window and the summary are not checked: sessions are to be shorter than the window. The service
need not tell sequences: then those rules have nothing to look at.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.faults.torture.calls import History, ModelCall
from tests.faults.torture.session_facts import SessionFacts
from tests.faults.torture.turn_rules import check_turns
from tests.faults.torture.view_rules import check_views
from tests.faults.torture.views import Book, sessions_of
from tests.faults.torture.violations import Kind, Violation


def check(history: History) -> list[Violation]:
    """Every violation, the first one seen first; one a kind and call. ValueError: no history."""
    book = Book.of(history)
    found: list[Violation] = []
    tells = any(call.sequence for call in history.calls)
    asked = _asked_by_session(history.asked, book, found)
    for name, calls in sessions_of(history.calls).items():
        facts = SessionFacts(name, calls, asked.get(name, []), book, tells_sequences=tells)
        check_turns(facts)
        check_views(facts)
        found += facts.found
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
