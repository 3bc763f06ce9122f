"""The file of static keys: its lines, what is wrong with them, how keys come and go."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from turnkeep_server.caller import Caller, CallerRole
from turnkeep_server.credentials import keys
from turnkeep_server.credentials.contract import Presented
from turnkeep_server.credentials.keys import StaticKeys, new_key
from turnkeep_server.errors import BadCredentials, SettingsError


async def _opened(path: Path, *lines: str) -> StaticKeys:
    path.write_text("\n".join(lines))
    found = StaticKeys(path)
    await found._file.first()
    return found


async def _caller(found: StaticKeys, key: str) -> Caller | None:
    return await found.caller(Presented.of(key))


async def test_a_key_says_who_calls(tmp_path: Path) -> None:
    """Tenant, role, the one user, and whether SYSTEM messages may be added."""
    plain, line = new_key(tenant="acme", role="caller", key_id="one")
    bound, bound_line = new_key(
        tenant="globex", role="reader", user_id="alice", add_system=True, key_id="two"
    )
    admin, admin_line = new_key(tenant="acme", role="admin", key_id="three")
    found = await _opened(tmp_path / "k", "# комментарий", line, "", bound_line, f"  {admin_line}")

    assert await _caller(found, plain) == Caller("acme", "one", CallerRole.CALLER)
    assert await _caller(found, bound) == Caller("globex", "two", CallerRole.READER, "alice", True)
    assert await _caller(found, admin) == Caller("acme", "three", CallerRole.ADMIN, None, True)
    assert await _caller(found, plain[:-1]) is None


def test_a_key_is_random_and_its_line_holds_its_hash_alone() -> None:
    """256 bits; a scanner for secrets knows it by its beginning."""
    made = [new_key(tenant="acme", role="caller") for _ in range(100)]
    assert len({key for key, _ in made}) == len({line for _, line in made}) == 100
    for key, line in made:
        assert re.fullmatch(r"tk_[A-Za-z0-9_-]{43}", key)
        assert key not in line
        assert json.loads(line)["sha256"] == Presented.of(key).digest.hex()


async def test_a_key_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its time, without the file being read."""
    key, line = new_key(tenant="acme", role="caller", days=30)
    found = await _opened(tmp_path / "k", line)
    assert await _caller(found, key)
    later = (datetime.now(UTC) + timedelta(days=30)).timestamp()
    monkeypatch.setattr(keys.time, "time", lambda: later)
    with pytest.raises(BadCredentials, match="expired"):
        await _caller(found, key)


async def test_keys_are_changed_one_after_the_other(tmp_path: Path) -> None:
    """Two of one tenant overlap; the old one is taken out, and counts no more at the next call."""
    path = tmp_path / "k"
    (old, old_line), (new, new_line) = (new_key(tenant="acme", role="caller") for _ in range(2))
    found = await _opened(path, old_line)
    assert await _caller(found, new) is None
    path.write_text(f"{old_line}\n{new_line}")
    assert await _caller(found, old)
    assert await _caller(found, new)
    path.write_text(new_line)
    assert await _caller(found, old) is None
    assert await _caller(found, new)


GOOD: dict[str, Any] = {"id": "one", "sha256": "0" * 64, "tenant": "acme"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tenant": ""}, "tenant must be 1 to 128"),
        ({"tenant": "акме"}, "tenant must be 1 to 128"),
        ({"tenant": "a b"}, "tenant must be 1 to 128"),
        ({"tenant": "acme\n"}, "tenant must be 1 to 128"),
        ({"tenant": 7}, "tenant Input should be a valid string"),
        ({"tenant": None}, "tenant Input should be a valid string"),
        ({"id": ""}, "id must be 1 to 128"),
        ({"user_id": ""}, "user_id must be 1 to 128"),
        ({"role": "owner"}, "role Input should be 'reader', 'caller' or 'admin'"),
        ({"sha256": "tk_canary"}, "sha256 is not 64 hexadecimal digits"),
        ({"expires": "2027-01-01T00:00:00"}, "expires Input should have timezone info"),
        ({"expires": "soon"}, "expires Input should be a valid datetime"),
        ({"key": "tk_canary"}, "has a field that there is not"),
    ],
)
async def test_a_bad_line_is_told_and_not_quoted(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    """By its number; a key itself may stand in the wrong place."""
    lines = [
        json.dumps({**GOOD, "id": "other", "sha256": "1" * 64}),
        json.dumps({**GOOD, **changed}),
    ]
    with pytest.raises(SettingsError, match=f"line 2: {told}") as raised:
        await _opened(tmp_path / "k", *lines)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), "holds no keys"),
        (("# tk_canary",), "holds no keys"),
        (("tk_canary",), "line 1: is no JSON object"),
        (("[]",), "line 1: "),
        ((json.dumps(GOOD)[:-1],), "line 1: is no JSON object"),
        ((json.dumps(GOOD), json.dumps({**GOOD, "id": "two"})), "line 2: its sha256"),
        ((json.dumps(GOOD), json.dumps({**GOOD, "sha256": "1" * 64})), "line 2: its sha256"),
        ((json.dumps({"id": "one"}),), "line 1: sha256"),
    ],
)
async def test_a_bad_file_is_told(tmp_path: Path, lines: tuple[str, ...], told: str) -> None:
    """An empty one, too: it may be in the middle of being written."""
    with pytest.raises(SettingsError, match=told) as raised:
        await _opened(tmp_path / "k", *lines)
    assert "canary" not in str(raised.value)


async def test_looking_a_key_up_is_cheap(tmp_path: Path) -> None:
    """With a thousand keys: far under a tenth of a millisecond; a turn is thirty times that."""
    made = [new_key(tenant=f"t{n}", role="caller", key_id=f"k{n}") for n in range(1_000)]
    found = await _opened(tmp_path / "k", *(line for _, line in made))
    began = time.process_time()
    for key, _ in made:
        assert await _caller(found, key)
    assert (time.process_time() - began) / 1_000 < 100e-6
