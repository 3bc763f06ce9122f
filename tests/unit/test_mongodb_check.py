"""What `check` makes of a MongoDB's answers: its version, its members, its user, its indexes."""

from collections.abc import Mapping
from typing import Any

import pytest

from turnkeep_server.errors import StartupError
from turnkeep_server.history.mongodb_check import _compared, _permissions, _topology, _version
from turnkeep_server.history.mongodb_indexes import TURN_INDEXES

READ_WRITE = ["find", "insert", "update", "remove", "createIndex", "dropCollection"]


def auth(actions: list[str], **resource: Any) -> Mapping[str, Any]:
    return {
        "authenticatedUsers": [{"user": "turnkeep", "db": "admin"}],
        "authenticatedUserPrivileges": [{"resource": resource, "actions": actions}],
    }


def test_an_old_mongodb_is_refused() -> None:
    assert _version({"version": "6.0.5", "versionArray": [6, 0, 5, 0]}) == "MongoDB 6.0.5"
    with pytest.raises(StartupError, match=r"5\.0\.9 is too old"):
        _version({"version": "5.0.9", "versionArray": [5, 0, 9, 0]})


@pytest.mark.parametrize(
    ("hello", "told"),
    [
        ({"setName": "rs0", "hosts": ["a:1"], "primary": "a:1"}, "three members go on"),
        ({"setName": "rs0", "hosts": ["a:1", "b:1", "c:1"], "primary": "b:1"}, "primary b:1"),
        ({"msg": "isdbgrid"}, "a sharded cluster"),
        ({}, "a standalone mongod"),
    ],
)
def test_what_mongodb_is_is_told(hello: Mapping[str, Any], told: str) -> None:
    assert told in _topology(hello)


@pytest.mark.parametrize(
    "resource",
    [
        {"db": "turnkeep", "collection": ""},
        {"db": "", "collection": ""},
        {"anyResource": True},
    ],
)
def test_a_user_who_may_read_and_write_is_well(resource: dict[str, Any]) -> None:
    assert "may read and write turnkeep" in _permissions(auth(READ_WRITE, **resource), "turnkeep")


@pytest.mark.parametrize(
    ("actions", "resource"),
    [
        (["find"], {"db": "turnkeep", "collection": ""}),
        (READ_WRITE, {"db": "other", "collection": ""}),
        (READ_WRITE, {"db": "turnkeep", "collection": "system.js"}),
    ],
)
def test_a_user_who_may_not_is_told_what_to_grant(
    actions: list[str], resource: dict[str, Any]
) -> None:
    with pytest.raises(StartupError, match=r"insert.* in turnkeep: grant it readWrite there"):
        _permissions(auth(actions, **resource), "turnkeep")


def test_a_mongodb_without_users_is_pointed_out() -> None:
    open_to_all = {"authenticatedUsers": [], "authenticatedUserPrivileges": []}
    assert "whoever reaches this MongoDB" in _permissions(open_to_all, "turnkeep")


def test_indexes_that_are_missing_will_be_made_and_others_are_refused() -> None:
    there = {each.document["name"]: each.document for each in TURN_INDEXES}
    assert _compared(there, TURN_INDEXES) == "all indexes are there"
    del there["running"]
    assert _compared(there, TURN_INDEXES) == "would make the indexes running"
    there["session_sequence"] = {**there["session_sequence"], "unique": False}
    with pytest.raises(StartupError, match="the index session_sequence is not the one"):
        _compared(there, TURN_INDEXES)
