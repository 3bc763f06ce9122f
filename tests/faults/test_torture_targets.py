"""What the torture suite changes in the service is there, and reads as it expects."""

import pytest

from tests.faults.torture.mutants import MUTANTS
from tests.faults.torture.patching import Edit, Replace, Target, TargetGone
from tests.faults.torture.sections import SECTIONS
from tests.faults.torture.steps import STEPS


@pytest.mark.parametrize("name", STEPS)
def test_the_methods_of_each_step_are_there(name: str) -> None:
    STEPS[name].check()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_text_that_each_mutant_changes_is_there(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.changes
    for change in mutant.changes:
        change.checked(dry=True)
    assert mutant.section in SECTIONS


def test_a_target_that_is_gone_is_told() -> None:
    with pytest.raises(TargetGone):
        Target("turnkeep_server.conversations:Conversations.no_such").owner_and_name()
    with pytest.raises(TargetGone):
        Target("turnkeep_server.no_such:x").owner_and_name()
    with pytest.raises(TargetGone):
        Edit("turnkeep_server.turns:utc_now", "no such text", "").checked(dry=True)
    with pytest.raises(TargetGone):
        Replace("turnkeep_server.turns:NO_SUCH", lambda each: each).checked(dry=True)
