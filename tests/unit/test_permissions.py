"""The table of permissions, against the contract's descriptor."""

import pytest

from tests.kit.rpcs import METHODS, request_of
from turnkeep_server import permissions
from turnkeep_server.caller import EVERYBODY, Caller, CallerRole
from turnkeep_server.errors import NotPermitted
from turnkeep_server.permissions import NEEDS, check_method, check_request, check_table


def test_every_rpc_of_the_contract_is_in_the_table() -> None:
    """A new one has to say what it needs, or this fails, and no server starts."""
    assert set(METHODS) == NEEDS.keys()
    check_table()


@pytest.mark.parametrize("method", METHODS)
def test_a_table_that_forgets_an_rpc_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """It names what is forgotten."""
    monkeypatch.setattr(permissions, "NEEDS", {k: v for k, v in NEEDS.items() if k != method})
    with pytest.raises(RuntimeError, match=method):
        check_table()


def test_what_is_not_in_the_table_is_for_nobody() -> None:
    """Not even for an admin."""
    with pytest.raises(NotPermitted):
        check_method(EVERYBODY, "DropEverything")


def test_roles_include_the_ones_below() -> None:
    """reader, caller, admin, in this order."""
    assert [[role.includes(other) for other in CallerRole] for role in CallerRole] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


@pytest.mark.parametrize("method", METHODS)
def test_every_request_can_be_held_to_one_user(method: str) -> None:
    """A request without a user_id would fail here: it could not be."""
    caller = Caller(tenant="acme", user_id="alice")
    request = request_of(method, "s")
    check_request(caller, request)
    assert request.user_id == "alice"
    with pytest.raises(NotPermitted):
        check_request(caller, request_of(method, "s", "bob"))


def test_there_is_no_caller_without_a_tenant() -> None:
    """By the type itself."""
    with pytest.raises(ValueError, match="no tenant"):
        Caller(tenant="")
