"""Broken promises: what kinds there are, and one of them told with its piece of history."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.torture.calls import Call, ModelCall, Op

_TEXT_SHOWN = 48
_SEEN_SHOWN = 12
_MESSAGES_SHOWN = 8
_ATTEMPTS_SHOWN = 5


class Kind(StrEnum):
    """What can be wrong with a history, as the report counts it."""

    LOST = "acknowledged turn lost"
    WENT_BACK = "turn that was read is gone"
    DOUBLED = "turn stored twice"
    HALF = "half turn"
    UNKNOWN = "message nobody sent"
    REFUSED = "refused turn stored"
    FUTURE = "turn read before it was sent"
    REPLY = "reply that the model did not give to that question"
    REPLY_CHANGED = "reply not the one acknowledged"
    STREAM = "stream not the reply acknowledged"
    MOVED = "turn at another place than acknowledged"
    SAME_PLACE = "two turns at one place"
    GAP = "gap in the sequences"
    ORDER = "order against real time"
    REAPPEARED = "cleared turn reappeared"
    CLEARED_IN_PART = "clear seen in part"
    INPUT = "model asked without a turn before"
    INPUT_LATER = "model asked with a turn that came later"
    ASKED_AGAIN = "model asked again after its answer was kept"


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise broken. `records`: the calls and model calls that show it; `context`: the clears
    of its session, which are told too."""

    kind: Kind
    session: str
    what: str
    records: tuple[Call | ModelCall, ...]
    context: tuple[Call, ...] = ()

    @property
    def at(self) -> int:
        """When it was seen."""
        return max((each.started for each in self.records), default=0)

    def told(self) -> str:
        """The violation and its history, a line a record in the order of time."""
        records = sorted((*self.records, *self.context), key=lambda each: each.started)
        zero = records[0].started if records else 0
        lines = [f"{self.kind} in session {self.session}: {self.what}"]
        lines += [f"    {_line(each, zero)}" for each in records]
        return "\n".join(lines)


def _line(record: Call | ModelCall, zero: int) -> str:
    if isinstance(record, ModelCall):
        said = [f"{role}: {_short(text)}" for role, text in record.before]
        return (
            f"{_ms(record.started, zero)}  model call {record.id} of {_short(record.question)}, "
            f"after {_listed(said, _MESSAGES_SHOWN)}; answer {_short(record.answer)}"
        )
    parts = [f"{_ms(record.started, zero)} to {_ms(record.ended, zero)}  call {record.id}"]
    parts.append(f"{record.op} {record.verdict}")
    if record.request_id:
        parts.append(record.request_id)
    parts += [_short(each) for each in record.texts]
    if record.sequence:
        parts.append(f"at {record.sequence}")
    if record.reply:
        parts.append(f"reply {_short(record.reply)}")
    if record.op is Op.LIST:
        seen = [f"{each.sequence} {each.role} {_short(each.text)}" for each in record.seen]
        parts.append(f"saw {_listed(seen, _SEEN_SHOWN)}")
    tried = [f"{each.reason or each.status}@{each.server}" for each in record.attempts]
    if tried:
        parts.append(f"attempts {_listed(tried, _ATTEMPTS_SHOWN)}")
    return ", ".join(parts)


def _ms(at: int, zero: int) -> str:
    return f"{(at - zero) / 1e6:+.1f} ms"


def _short(text: str) -> str:
    return repr(text if len(text) <= _TEXT_SHOWN else text[:_TEXT_SHOWN] + "…")


def _listed(items: Iterable[str], limit: int) -> str:
    shown = list(items)
    left_out = len(shown) - limit
    head = [f"… {left_out} more …"] if left_out > 0 else []
    return "[" + "; ".join(head + shown[-limit:]) + "]"
