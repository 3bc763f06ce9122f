"""A service that keeps every promise, as histories: what the checker must find nothing wrong with.

Sessions are logs: a turn takes its place when it begins and the place is its own until it ends; a
clear may come at any time; a read sees the completed turns. When a call was sent and answered is
random around when it took effect, so calls overlap as they do in life.
"""

import random
from dataclasses import dataclass, field, replace

from tests.faults.torture.calls import Call, History, ModelCall, Op, Seen, Verdict, role_of

_EARLY = _LATE = 40
_STEP = 10


@dataclass(slots=True)
class _Turn:
    sequence: int
    call: Call
    completed: bool = False

    @property
    def messages(self) -> tuple[Seen, ...]:
        """As a reader sees them."""
        spoken = [Seen(self.sequence, role_of(n), text) for n, text in enumerate(self.call.texts)]
        if self.call.asks and self.completed:
            spoken.append(Seen(self.sequence, "assistant", self.call.reply))
        return tuple(spoken)


@dataclass(slots=True)
class Service:
    """One session of it; `history` is what its callers see."""

    dice: random.Random
    name: str = "s"
    history: History = field(default_factory=History)
    _turns: list[_Turn] = field(default_factory=list)
    _head: int = 0
    _now: int = 1_000
    _waits_for: int = 0

    def live(self, calls: int) -> History:
        """That many calls of every kind, then the reads that a run ends with."""
        acts = (self.chat, self.chat, self.add, self.read, self.clear, self.fail, self.refuse)
        for _ in range(calls):
            self.dice.choice(acts)()
        self._now += 2 * (_EARLY + _LATE)
        self.read()
        self.read(unfinished=True)
        return self.history

    def chat(self, *, known: bool | None = None) -> None:
        """A turn with a reply; its caller may never learn of it."""
        number = len(self.history.calls) + 1
        question, reply = f"question {number}", f"reply {number}"
        begun = self._tick()
        before = tuple((each.role, each.text) for turn in self._visible() for each in turn.messages)
        asked_at = self._tick()
        self.history.asked.append(
            ModelCall(len(self.history.asked) + 1, asked_at, question, before, reply)
        )
        ended = self._tick()
        self._write(Op.CHAT, (question,), begun, ended, known, reply=reply)

    def add(self) -> None:
        """A turn of one to three messages."""
        number = len(self.history.calls) + 1
        texts = tuple(f"added {number}.{n}" for n in range(self.dice.randint(1, 3)))
        at = self._tick()
        self._write(Op.ADD, texts, at, at, None)

    def read(self, *, unfinished: bool = False) -> None:
        """A list of all messages."""
        at = self._tick()
        turns = self._turns if unfinished else self._visible()
        seen = tuple(each for turn in turns for each in turn.messages)
        call = self._call(Op.LIST, (), at, at, Verdict.OK)
        self.history.calls.append(replace(call, seen=seen, unfinished=unfinished))

    def clear(self) -> None:
        """A tombstone, and nothing below it."""
        at = self._tick()
        if self._turns:
            self._head += 1
        self._turns.clear()
        self.history.calls.append(self._call(Op.CLEAR, (), at, at, Verdict.OK))

    def fail(self) -> None:
        """A turn without a reply: it has a place, and is no part of the conversation."""
        number = len(self.history.calls) + 1
        at = self._tick()
        call = self._call(Op.CHAT, (f"failed {number}",), at, at, Verdict.UNSURE)
        self._head += 1
        self._turns.append(_Turn(self._head, call))
        self.history.calls.append(call)

    def refuse(self) -> None:
        """A chat that did not want to wait."""
        number = len(self.history.calls) + 1
        at = self._tick()
        call = self._call(Op.CHAT, (f"refused {number}",), at, at, Verdict.REFUSED)
        self.history.calls.append(call)

    def _write(
        self,
        op: Op,
        texts: tuple[str, ...],
        begun: int,
        ended: int,
        known: bool | None,
        reply: str = "",
    ) -> None:
        known = self.dice.random() < 0.8 if known is None else known
        verdict = Verdict.OK if known else Verdict.UNSURE
        call = self._call(op, texts, begun, ended, verdict)
        self._head += 1
        self._turns.append(_Turn(self._head, replace(call, reply=reply), completed=True))
        if known:
            call = replace(call, reply=reply, sequence=self._head)
        self.history.calls.append(call)

    def _visible(self) -> list[_Turn]:
        return [each for each in self._turns if each.completed]

    def _call(
        self, op: Op, texts: tuple[str, ...], begun: int, ended: int, verdict: Verdict
    ) -> Call:
        number = len(self.history.calls) + 1
        sent = begun - self.dice.randint(1, _EARLY)
        answered = ended + self.dice.randint(1, _LATE)
        return Call(number, op, self.name, sent, answered, verdict, f"r{number}", texts)

    def _tick(self) -> int:
        self._now += self.dice.randint(1, _STEP)
        return self._now
