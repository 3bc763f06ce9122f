"""The file of tenants' own limits: what it says, and what is wrong with it, in which line."""

import asyncio
import os
from pathlib import Path

import pytest

from turnkeep_server import tenants_file
from turnkeep_server.admission import Admission
from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.errors import SettingsError
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits
from turnkeep_server.tenants_file import following_tenants_file, read_limits

USUAL = TenantLimits(requests_per_second=10, concurrent_turns=4, tokens_per_day=1_000)
FILE = """
acme:            # pays for more
  requests_per_second: 0.5
  request_burst: 20
  tokens_per_day: 2000000000000
глобекс:
  concurrent_turns: null
"""


def test_a_tenant_has_its_own_limits_and_else_the_usual_ones() -> None:
    limits = read_limits(FILE.encode(), USUAL)
    acme = limits.of("acme")
    assert (acme.requests_per_second, acme.burst) == (0.5, 20)
    assert (acme.concurrent_turns, acme.tokens_per_day) == (4, 2_000_000_000_000)
    assert limits.of("глобекс").concurrent_turns is None
    assert limits.of("глобекс").requests_per_second == 10
    assert limits.of("anybody else") is USUAL


def test_a_burst_is_what_a_second_brings_unless_it_is_said() -> None:
    assert [TenantLimits(requests_per_second=each).burst for each in (0.1, 1, 2.5, 50)] == [
        1,
        1,
        3,
        50,
    ]


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("", "line 1: holds no tenants"),
        ("- acme", "line 1: holds no tenants"),
        ("acme:\n  tokens: 5", "line 2: tenant 'acme': tokens is no limit; there are requests_"),
        ("acme: 5", "line 1: tenant 'acme': needs its limits below its name"),
        ("a:\n  tokens_per_day: 5\nb:\n  tokens_per_day: 0", "line 4: tenant 'b': tokens_per_day"),
        ("acme:\n  requests_per_second: many", "line 2: tenant 'acme': requests_per_second"),
        ("acme:\n  requests_per_second: nan", "line 2: tenant 'acme': requests_per_second"),
        ("acme:\n  concurrent_turns: -1", "line 2: tenant 'acme': concurrent_turns must be"),
        ("acme: {\n", "is no YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: str, told: str) -> None:
    with pytest.raises(SettingsError, match="TURNKEEP_TENANTS_FILE") as caught:
        read_limits(file.encode(), USUAL)
    assert told in str(caught.value)


async def test_the_file_is_followed_and_a_bad_one_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenants_file, "_LOOKED_AT_EVERY_SECONDS", 0.002)
    path = tmp_path / "tenants.yaml"
    path.write_text("acme: {concurrent_turns: 1}")
    admission = Admission(LimitsOfTenants(USUAL), DayTokens())

    def turns() -> int | None:
        return admission.limits.of("acme").concurrent_turns

    def write(text: str) -> None:
        path.with_suffix(".new").write_text(text)
        os.replace(path.with_suffix(".new"), path)

    async with following_tenants_file(path, admission):
        assert turns() == 1
        write("acme: {concurrent_turns: 2}")
        async with asyncio.timeout(5):
            while turns() != 2:
                await asyncio.sleep(0.002)
        write("acme: {concurrent_turns: two}")
        await asyncio.sleep(0.05)
        assert turns() == 2
        assert admission.limits.of("globex") is USUAL


async def test_a_file_that_is_bad_at_the_start_ends_it(tmp_path: Path) -> None:
    admission = Admission(LimitsOfTenants(USUAL), DayTokens())
    with pytest.raises(SettingsError, match="cannot be read"):
        async with following_tenants_file(tmp_path / "nowhere", admission):
            pass
