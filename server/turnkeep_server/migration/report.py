"""What an import has done: counted as it goes, told at its end."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_MOST_PROBLEMS = 10_000  # kept for the report; every one is told when it is found


@dataclass(frozen=True, slots=True)
class Problem:
    """What was not imported: a session, or a message of it by its index there, from 0; and why."""

    session_id: str
    index: int | None
    reason: str

    def __str__(self) -> str:
        message = "" if self.index is None else f", message {self.index}"
        return f"session {self.session_id!r}{message}: {self.reason}"


@dataclass(slots=True)
class Report:
    """The counts. Messages are `imported`, `already_there`, `unreadable` or `left` behind.

    `left`: those of a session behind where it stopped, and all of one that was refused. `tell`: is
    told of each problem. `source_name`: by which a later run knows the source. `stopped`: why the
    import ended early, if it did.
    """

    tell: Callable[[Problem], None]
    source_name: str = ""
    sessions: int = 0
    turns: int = 0
    imported: int = 0
    already_there: int = 0
    unreadable: int = 0
    left: int = 0
    stopped: str = ""
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0

    def problem(self, session_id: str, index: int | None, reason: str) -> None:
        """Tells of one more problem."""
        problem = Problem(session_id, index, reason)
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        self.tell(problem)

    @property
    def complete(self) -> bool:
        """Whether everything that the source holds is there now."""
        return not self.problem_count and not self.stopped

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        counts = {name: getattr(self, name) for name, _ in _COUNTS}
        problems = [dataclasses.asdict(each) for each in self.problems]
        return {
            "complete": self.complete,
            "source_name": self.source_name,
            **counts,
            "problem_count": self.problem_count,
            "problems": problems,
            "stopped": self.stopped,
        }

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """The report for people."""
        ended = "a dry run: nothing was written" if dry_run else "the import has ended"
        yield f"{ended} (source: {self.source_name})"
        for name, meaning in _COUNTS:
            yield f"{getattr(self, name):>10,}  {meaning}"
        if self.stopped:
            yield f"it stopped early: {self.stopped}"
        if self.problem_count:
            yield f"{self.problem_count} problems, each told above: not everything is there"
        elif not self.stopped:
            yield (
                "everything that could be written is in the source"
                if dry_run
                else ("everything that the source holds is there")
            )


_COUNTS = (
    ("sessions", "sessions read"),
    ("turns", "turns imported"),
    ("imported", "messages imported"),
    ("already_there", "messages already there"),
    ("unreadable", "messages that cannot be imported"),
    ("left", "messages left behind, where a session stopped or was refused"),
)
