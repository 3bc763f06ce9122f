"""The fuzzer in a small size, its corpus, and that it finds what is there to be found."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.torture.patching import Edit, Target
from tests.fuzz import engine
from tests.fuzz.targets import TARGETS

SEED = 20_261_126
INPUTS = {"validation": 2_000, "events": 1_000}
FEW = 300
# What is wrong, where, and which target must find it within FINDS inputs.
FINDS = 20_000
PLANTED: dict[str, tuple[str, Edit]] = {
    "a converter that takes a field for granted": (
        "conversions",
        Edit(
            "turnkeep_server.history.mongodb_documents:_message_of",
            'document.get("name", "")',
            'document["name"]',
        ),
    ),
    "a status without a bound": (
        "validation",
        Edit(
            "turnkeep_server.interceptors.errors:_pack_violations",
            "if bad.ByteSize() > room:",
            "if False:",
        ),
    ),
    "arguments that nest without end": (
        "validation",
        Edit(
            "turnkeep_server.validation:_arguments",
            "except (ValueError, RecursionError):",
            "except ValueError:",
        ),
    ),
    "halves of surrogate pairs in a stream": (
        "streams",
        Edit(
            "turnkeep_server.messages:SurrogateCleaner.clean",
            'return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"), last)',
            "return piece",
        ),
    ),
    "figures beyond 64 bits": (
        "answers",
        Edit("turnkeep_server.messages:_count", "0 <= reported < _BEYOND_ANY_COUNT", "True"),
    ),
    "a page that begins nowhere": (
        "page_tokens",
        Edit("turnkeep_server.paging:_sane", "0 <= value < _BEYOND_ANY_MOMENT_MS", "True"),
    ),
    "a variable that the template's own method takes": (
        "prompts",
        Edit("turnkeep_server.prompts:name_problem", "if name in _NO_VARIABLES:", "if False:"),
    ),
    "a line's end that is cut in two": (
        "events",
        Edit(
            "turnkeep_server.server_sent_events:EventData.feed",
            'self._after_return = piece.endswith(b"\\r")',
            "self._after_return = False",
        ),
    ),
    "a date beyond all dates": (
        "refusals",
        Edit(
            "turnkeep_server.model_failures:_retry_after",
            "except (ValueError, OverflowError):",
            "except ValueError:",
        ),
    ),
}


def _told(crashes: dict[str, engine.Crash]) -> str:
    return "\n".join(f"{each.told}\n{each.data!r}" for each in crashes.values())


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_makes_a_target_fail(target: str) -> None:
    """The corpus, then a few made for the occasion; the same ones each time."""
    tally = engine.fuzzed(target, INPUTS.get(target, FEW) + _kept(target), SEED)
    assert not tally.crashes, _told(tally.crashes)
    assert len(tally.became) > 1, "all inputs come to the same end"


def test_many_requests_are_good_enough_to_get_past_validation() -> None:
    became = engine.fuzzed("validation", FEW, SEED).became
    assert became["accepted"] > FEW / 8
    assert became["refused"] > FEW / 8
    assert became["malformed"] > 0


@pytest.mark.parametrize("target", TARGETS)
def test_a_seed_makes_the_same_inputs_again(target: str) -> None:
    first, again, other = (
        list(islice(engine.inputs_of(target, 200, seed), _kept(target), 200)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Iterator[str]:
    """The target that is to find a bug, which is there meanwhile."""
    target, edit = PLANTED[request.param]
    before = Target(edit.place).value
    edit.apply()
    yield target
    Target(edit.place).put(before)


@pytest.mark.parametrize("planted", PLANTED, indirect=True)
def test_a_planted_bug_is_found(planted: str) -> None:
    """Within a few thousand inputs, by one that still shows it when it was made small."""
    for data in engine.inputs_of(planted, FINDS, SEED):
        if crash := engine.crash_of(planted, data):
            break
    else:
        pytest.fail(f"{FINDS} inputs found nothing")
    smaller = engine.minimised(crash, 0.3)
    assert smaller.place == crash.place
    assert len(smaller.data) <= len(crash.data)


def test_what_is_found_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    crash = engine.Crash("events", "x", b"data: \r", "")
    path = engine.kept(crash, tmp_path)
    assert path == engine.kept(crash, tmp_path)
    assert path.parent.name == "events"
    assert path.read_bytes() == crash.data


def _kept(target: str) -> int:
    return len(list(engine.CORPUS.glob(f"{target}/*")))
