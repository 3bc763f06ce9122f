"""Counting tokens: nanoseconds a character, and against a plain count of the text's characters.

    .venv/bin/python -m benchmarks.tokens

The texts are words of tests/data/tokens with their halves put together anew, so that hardly one is
known: harder than what people write. In one text of 64 Ki characters, the longest that a message
may have, and in 512 messages of 4 KiB, the most that one AddMessages may have. Exits with 1 if the
former takes over 12 times as long as counting its characters.
"""

# ruff: noqa: T201 - a benchmark talks

import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from turnkeep_server.tokens import count_text

TEXTS = Path(__file__).parents[1] / "tests" / "data" / "tokens" / "texts.json"
LONGEST_CHARACTERS = 65_536
MESSAGES, MESSAGE_BYTES = 512, 4_096
RUNS = 5
HIGHEST_RATIO = 12.0


def main() -> int:
    """Exit code 0 if no ratio is over its bound."""
    first = seconds(lambda: count_text(""), runs=1)
    print(f"the first call, which reads the vocabularies: {first * 1e3:.0f} ms")
    ratios = []
    for script, text in made_texts().items():
        long = text[:LONGEST_CHARACTERS]
        messages = list(cut(text, MESSAGES, MESSAGE_BYTES))
        taken, plain = seconds(partial(count_text, long)), seconds(partial(Counter, long))
        all_taken = seconds(partial(count_all, messages), runs=1)
        characters = sum(map(len, messages))
        ratios.append(taken / plain)
        print(
            f"{script:10} 64 Ki characters: {taken * 1e3:5.1f} ms, {taken / len(long) * 1e9:4.0f} "
            f"ns a character, {ratios[-1]:4.1f} times a plain count; "
            f"2 MiB of messages: {all_taken * 1e3:4.0f} ms, "
            f"{all_taken / characters * 1e9:4.0f} ns a character"
        )
    print(f"highest ratio: {max(ratios):.1f} (at most {HIGHEST_RATIO:.0f})")
    return 0 if max(ratios) <= HIGHEST_RATIO else 1


def count_all(messages: list[str]) -> None:
    """Counts the tokens of each."""
    for each in messages:
        count_text(each)


def made_texts() -> dict[str, str]:
    """A text of over 2 MiB in each script, the same in every run."""
    words: defaultdict[str, list[str]] = defaultdict(list)
    for entry in json.loads(TEXTS.read_text()):
        words[entry["script"]] += re.findall(r"\S+\s*", entry["text"])
    return {script: "".join(mixed(some)) for script, some in words.items()}


def mixed(words: list[str]) -> Iterator[str]:
    """Words made of the first half of one and the second of another, 3 MiB of them."""
    chance, size = random.Random(1), 0  # noqa: S311 - no secret
    while size < 3 * 2**20:
        one, other = chance.choices(words, k=2)
        word = one[: len(one) // 2] + other[len(other) // 2 :]
        size += len(word.encode())
        yield word


def cut(text: str, count: int, size: int) -> Iterator[str]:
    """The first `count` pieces of `text` of `size` bytes each."""
    data = text.encode()
    for start in range(0, count * size, size):
        yield data[start : start + size].decode(errors="ignore")


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """The least of a few runs: what the work takes when nothing else is in its way."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())
