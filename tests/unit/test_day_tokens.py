"""A day's tokens over several servers: none counted twice, none forgotten, late by a moment."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest

from turnkeep_server.day_tokens import DAY_SECONDS, DayTokens
from turnkeep_server.errors import HistoryUnavailable

NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


class Database:
    """What all servers write to; `away` while it does not answer."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], dict[str, int]] = {}
        self.away = False
        self.calls = 0

    def of(self, server: str) -> "Server":
        return Server(self, server)


class Server:
    """A server's way to it."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self._name = database, name

    async def share_tokens(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        self._database.calls += 1
        await asyncio.sleep(0)
        if self._database.away:
            raise HistoryUnavailable("away")
        kept = self._database.kept
        for tenant, tokens in mine.items():
            of = kept.setdefault((tenant, day), {})
            of[self._name] = max(of.get(self._name, 0), tokens)
        found = {}
        for tenant in tenants:
            of = kept.get((tenant, day), {})
            found[tenant] = of.get(self._name, 0), sum(of.values()) - of.get(self._name, 0)
        return found


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnkeep_server.day_tokens._SHARED_EVERY_SECONDS", 0.002)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_servers_know_of_each_others_tokens() -> None:
    database, clock = Database(), lambda: NOON
    one, two = DayTokens(clock), DayTokens(clock)
    async with one.shared(database.of("1")), two.shared(database.of("2")):
        await one.known("acme")
        await two.known("acme")
        one.spend("acme", 100)
        two.spend("acme", 20)
        one.spend("глобекс", 7)
        assert one.used("acme") == 100
        await until(lambda: one.used("acme") == two.used("acme") == 120)
        assert two.used("глобекс") == 0
        await two.known("глобекс")
        assert two.used("глобекс") == 7


async def test_a_restart_keeps_the_day() -> None:
    """The last of it is written when the server ends; the next one reads it before a turn runs."""
    database, clock = Database(), lambda: NOON
    before = DayTokens(clock)
    async with before.shared(database.of("1")):
        before.spend("acme", 100)
    after = DayTokens(clock)
    async with after.shared(database.of("2")):
        await asyncio.gather(*(after.known("acme") for _ in range(50)))
        assert after.used("acme") == 100
        after.spend("acme", 1)
        assert after.used("acme") == 101


async def test_many_who_ask_at_once_are_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnkeep_server.day_tokens._SHARED_EVERY_SECONDS", 60)
    database = Database()
    tokens = DayTokens(lambda: NOON)
    async with tokens.shared(database.of("1")):
        await asyncio.gather(*(tokens.known("acme") for _ in range(50)))
        assert database.calls == 1


async def test_whoever_hangs_up_leaves_the_reading_to_the_others() -> None:
    database = Database()
    tokens = DayTokens(lambda: NOON)
    async with tokens.shared(database.of("1")):
        first, second = (asyncio.create_task(tokens.known("acme")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second


async def test_a_database_that_is_away_forgets_nothing() -> None:
    """Turns are counted on, and told when it is back; who is not known yet is not let in."""
    database = Database()
    tokens = DayTokens(lambda: NOON)
    async with tokens.shared(database.of("1")):
        await tokens.known("acme")
        database.away = True
        tokens.spend("acme", 5)
        await asyncio.sleep(0.02)
        assert tokens.used("acme") == 5
        with pytest.raises(HistoryUnavailable):
            await tokens.known("globex")
        database.away = False
        await until(lambda: database.kept.get(("acme", 20_000)) == {"1": 5})


async def test_midnight_begins_a_new_count_and_loses_nothing_of_the_old() -> None:
    now = [NOON]
    database = Database()
    tokens = DayTokens(lambda: now[0])
    async with tokens.shared(database.of("1")):
        database.away = True
        await asyncio.sleep(0.01)
        tokens.spend("acme", 5)
        assert tokens.seconds_left() == DAY_SECONDS / 2
        now[0] += DAY_SECONDS / 2
        assert tokens.used("acme") == 0
        assert tokens.seconds_left() == DAY_SECONDS
        tokens.spend("acme", 3)
        database.away = False
        await until(lambda: len(database.kept) == 2)
        assert database.kept == {("acme", 20_000): {"1": 5}, ("acme", 20_001): {"1": 3}}
        await until(lambda: not tokens._used)


async def test_a_tenant_who_was_away_is_looked_up_anew() -> None:
    """What other servers counted meanwhile is not what was known then."""
    now = [NOON]
    database = Database()
    one, two = DayTokens(lambda: now[0]), DayTokens(lambda: now[0])
    async with one.shared(database.of("1")), two.shared(database.of("2")):
        await one.known("acme")
        now[0] += 60
        two.spend("acme", 9)
        await until(lambda: database.kept)
        await one.known("acme")
        assert one.used("acme") == 9


async def test_nothing_is_asked_for_tenants_who_do_nothing() -> None:
    now = [NOON]
    database = Database()
    tokens = DayTokens(lambda: now[0])
    async with tokens.shared(database.of("1")):
        await tokens.known("acme")
        now[0] += 60
        await asyncio.sleep(0.02)
        asked = database.calls
        await asyncio.sleep(0.02)
        assert database.calls == asked


async def test_tenants_who_do_nothing_are_forgotten_and_their_tokens_are_not() -> None:
    """An issuer may name more tenants in a day than memory holds; each is known again in time."""
    now = [NOON]
    database = Database()
    tokens = DayTokens(lambda: now[0])
    tenants = [f"арендатор-{n}" for n in range(300)]
    async with tokens.shared(database.of("1")):
        for each in tenants:
            await tokens.known(each)
            tokens.spend(each, 5)
        now[0] += 60
        await until(lambda: not tokens._used)
        await tokens.known(tenants[0])
        assert tokens.used(tenants[0]) == 5
        tokens.spend(tenants[0], 2)
        # A turn that began before its tenant was forgotten, or a summary: nobody asked first.
        tokens.spend(tenants[1], 3)
        await until(lambda: database.kept[tenants[1], 20_000] == {"1": 8})
        assert tokens.used(tenants[0]) == 7
    assert database.kept[tenants[0], 20_000] == {"1": 7}


async def test_the_last_that_is_told_is_added_to_what_was_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that ends has no second try."""
    monkeypatch.setattr("turnkeep_server.day_tokens._SHARED_EVERY_SECONDS", 60)
    database = Database()
    database.kept["acme", 20_000] = {"1": 100, "2": 7}
    tokens = DayTokens(lambda: NOON)
    async with tokens.shared(database.of("1")):
        tokens.spend("acme", 5)
    assert database.kept["acme", 20_000] == {"1": 105, "2": 7}


async def test_two_who_read_at_once_add_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnkeep_server.day_tokens._SHARED_EVERY_SECONDS", 60)
    database = Database()
    database.kept["acme", 20_000] = {"1": 100}
    tokens = DayTokens(lambda: NOON)
    async with tokens.shared(database.of("1")):
        await asyncio.gather(tokens.known("acme"), tokens._share(["acme"]))
        assert tokens.used("acme") == 100
