"""Which sections of the torture suite run on which service."""

import pytest

from tests.faults.torture.running import run_section
from tests.faults.torture.sections import OURS_AS_IT_IS, SECTIONS, Service


@pytest.mark.parametrize("name", sorted(OURS_AS_IT_IS))
@pytest.mark.parametrize(
    ("service", "mutant"), [(Service.STOCK_AIO, ""), (Service.TURNKEEP, "no-shield")]
)
def test_what_is_made_for_turnkeep_as_it_is_does_not_pass_for_another(
    name: str, service: Service, mutant: str
) -> None:
    assert name in SECTIONS
    found = run_section(name, full=False, seed=1, service=service, mutant=mutant)
    assert (found.section, found.calls) == (name, 0)
    assert found.skipped
