"""What a reader or the model saw of a session, taken apart into turns."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.torture.calls import Call, History, ModelCall, Seen, role_of
from tests.faults.torture.violations import Kind

Complain = Callable[..., None]


@dataclass(slots=True)
class Book:
    """Whose each text is. Texts are unique, so one that is seen names its call, as in Elle's
    recoverable histories (https://github.com/jepsen-io/elle)."""

    writers: dict[str, tuple[Call, int]] = field(default_factory=dict)
    answers: dict[str, ModelCall] = field(default_factory=dict)
    asked: dict[str, list[ModelCall]] = field(default_factory=dict)
    """The model calls of each question, in order of time."""

    @classmethod
    def of(cls, history: History) -> "Book":
        """ValueError when a text occurs twice: then the workload is wrong, not the service."""
        book = cls()
        for call in history.calls:
            for index, text in enumerate(call.texts):
                if text in book.writers:
                    raise ValueError(f"two calls say {text!r}: {call.id} is the second")
                book.writers[text] = call, index
        for each in sorted(history.asked, key=lambda asked: asked.started):
            if each.answer in book.answers:
                raise ValueError(f"two answers are {each.answer!r}")
            book.answers[each.answer] = each
            book.asked.setdefault(each.question, []).append(each)
        return book

    def caller(self, text: str) -> Call | None:
        """Whose turn this message would belong to, as its input or as its reply."""
        if found := self.writers.get(text):
            return found[0]
        asked = self.answers.get(text)
        found = self.writers.get(asked.question) if asked else None
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class SeenTurn:
    """A whole turn, as it was seen. `sequence` 0: the service does not tell."""

    call: Call
    sequence: int
    reply: str


@dataclass(slots=True)
class View:
    """A session as it was read at one moment between `started` and `ended`.

    `source` is the LIST, or the model call whose input it is; `by` is then the call it was for.
    """

    source: Call | ModelCall
    by: Call | None
    started: int
    ended: int
    messages: tuple[Seen, ...]
    turns: dict[int, SeenTurn] = field(default_factory=dict)
    """The whole turns by their call's id, in the order seen."""
    touched: set[int] = field(default_factory=set)
    """The calls of which anything was seen."""

    @property
    def of_model(self) -> bool:
        """Whether it is a model's input."""
        return isinstance(self.source, ModelCall)


def listed(call: Call, *, tells: bool) -> View:
    """The view that a LIST had. `tells`: whether the service knows sequences; else they go."""
    messages = call.seen if tells else tuple(Seen(0, each.role, each.text) for each in call.seen)
    return View(call, None, call.started, call.ended, messages)


def sent(asked: ModelCall, by: Call) -> View:
    """The view that a model call was sent: read after its call began, before it arrived."""
    messages = tuple(Seen(0, role, text) for role, text in asked.before)
    return View(asked, by, by.started, asked.started, messages)


def take_apart(view: View, book: Book, complain: Complain) -> None:
    """Fills in the view's turns; complains of halves, doubles and strangers.

    `complain(kind, what, call, records)` is called with None for a message of no call.
    """
    place = 0
    while place < len(view.messages):
        size, problem = _turn_at(view, place, book)
        if problem:
            kind, what, call = problem
            complain(kind, what, call, view.source)
            if call:
                view.touched.add(call.id)
        place += size


def _turn_at(
    view: View, place: int, book: Book
) -> tuple[int, tuple[Kind, str, Call | None] | None]:
    """How many messages the turn here has, and what is wrong with it."""
    message = view.messages[place]
    call = book.caller(message.text)
    if call is None:
        return 1, (Kind.UNKNOWN, f"{message.role} says {message.text!r}", None)
    wanted = list(_wanted(call))
    found = view.messages[place : place + len(wanted)]
    if len(found) < len(wanted) or any(map(_differs, found, wanted)):
        return 1, (Kind.HALF, f"of {call.texts[0]!r} not all is there, or not together", call)
    if len({each.sequence for each in found}) > 1:
        return 1, (Kind.HALF, f"{call.texts[0]!r} lies at several places", call)
    reply = found[-1].text if call.asks else ""
    asked = book.answers.get(reply)
    if call.asks and (asked is None or asked.question != call.texts[0]):
        view.touched.add(call.id)
        return len(wanted), (Kind.REPLY, f"{call.texts[0]!r} has {reply!r}", call)
    if call.id in view.touched:
        return len(wanted), (Kind.DOUBLED, f"{call.texts[0]!r} is there again", call)
    view.touched.add(call.id)
    view.turns[call.id] = SeenTurn(call, found[0].sequence, reply)
    return len(wanted), None


def _wanted(call: Call) -> Iterator[tuple[str, str | None]]:
    """(role, text) of the turn's messages; None for a reply, which may be any."""
    yield from ((role_of(index), text) for index, text in enumerate(call.texts))
    if call.asks:
        yield "assistant", None


def _differs(found: Seen, wanted: tuple[str, str | None]) -> bool:
    role, text = wanted
    return found.role != role or (text is not None and found.text != text)


def sessions_of(calls: Iterable[Call]) -> dict[str, list[Call]]:
    """The calls of each session, in order of their start."""
    found: dict[str, list[Call]] = {}
    for call in sorted(calls, key=lambda each: each.started):
        found.setdefault(call.session, []).append(call)
    return found
