"""The time of `fit`: a window of 40 messages out of a session of 20 turns, and out of 10,000.

    .venv/bin/python -m benchmarks.context

Pure CPU in this process, on messages that are counted, as stored ones are. Exits with 1 if a window
takes over 50 µs, or over 1.2 times as long in the long session as in the short one.
"""

# ruff: noqa: T201 - a benchmark talks

import statistics
import sys
import time
from datetime import UTC, datetime

from turnkeep_server.context import estimate_by
from turnkeep_server.context_window import Budget, Estimate, fit
from turnkeep_server.model_catalog import figures_of
from turnkeep_server.tokens import counted
from turnkeep_server.turns import Message, Role, Turn, TurnStatus

SESSIONS = {"short": 20, "long": 10_000}
WINDOW = Budget(tokens=100_000, messages=40)
WARM_UP_ROUNDS, ROUNDS, CALLS_A_ROUND = 20, 200, 20
MOST_MICROSECONDS, HIGHEST_RATIO = 50.0, 1.2


def main() -> int:
    """Exit code 0 if both are within their bounds."""
    sessions = {name: turns_of(count) for name, count in SESSIONS.items()}
    estimate = estimate_by(figures_of("gpt-4o-mini", {}), ratio=1.1)
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for round_number in range(WARM_UP_ROUNDS + ROUNDS):
        for name, turns in sessions.items():
            microseconds = measured(turns, estimate)
            if round_number >= WARM_UP_ROUNDS:
                taken[name].append(microseconds)
    medians = {name: statistics.median(each) for name, each in taken.items()}
    for name, median in medians.items():
        print(f"{SESSIONS[name]:6} turns: median {median:.1f} µs a window of 40 messages")
    ratio = medians["long"] / medians["short"]
    print(f"ratio: {ratio:.2f} (at most {HIGHEST_RATIO}); at most {MOST_MICROSECONDS:.0f} µs each")
    return 0 if ratio <= HIGHEST_RATIO and max(medians.values()) <= MOST_MICROSECONDS else 1


def measured(turns: list[Turn], estimate: Estimate) -> float:
    """Microseconds of one call."""
    began = time.perf_counter()
    for _ in range(CALLS_A_ROUND):
        fit(turns, WINDOW, estimate)
    taken = time.perf_counter() - began
    window = fit(turns, WINDOW, estimate)
    if len(window.messages) != WINDOW.messages:
        raise RuntimeError(f"{len(window.messages)} messages in the window")
    return taken / CALLS_A_ROUND * 1e6


def turns_of(count: int) -> list[Turn]:
    """A question and its reply a turn, newest first."""
    question = counted(Message(Role.USER, "Расскажи подробнее, пожалуйста. 请详细说明。"))
    reply = counted(Message(Role.ASSISTANT, "Хорошо: вот что известно об этом. " * 4))
    now = datetime.now(UTC)
    return [
        Turn(f"{n}", n, TurnStatus.COMPLETED, (question, reply), 2 * (n - 1), now)
        for n in range(count, 0, -1)
    ]


if __name__ == "__main__":
    sys.exit(main())
