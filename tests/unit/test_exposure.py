"""A server that others can reach has TLS and identity, or it says that it has not."""

import itertools
import socket
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.exposure import check_exposure, reaches_beyond_this_machine, what_is_open
from turnkeep_server.settings import Settings

HERE = [
    "127.0.0.1:50051",
    "127.9.9.9:0",
    "[::1]:50051",
    "[::ffff:127.0.0.1]:1",
    "localhost:50051",
    "unix:/run/turnkeep.sock",
    "unix:///run/turnkeep.sock",
]
EVERYWHERE = ["0.0.0.0:50051", "[::]:50051", "0:50051", "192.168.1.7:50051", "[2001:db8::7]:1"]
NO_TLS, NO_IDENTITY = "no TLS", "no identity"


def settings(listen: str, *, tls: bool, identity: bool, insecure: bool) -> Settings:
    """Such settings, with a file of keys for identity."""
    file = Path("/etc/tls")
    given: dict[str, Any] = {
        "listen": listen,
        "insecure": insecure,
        "tls_certificate_file": file if tls else None,
        "tls_key_file": file if tls else None,
    }
    return Settings(**given, keys_file=file if identity else None)


@pytest.mark.parametrize(
    ("beyond", "tls", "identity", "insecure"), [*itertools.product([False, True], repeat=4)]
)
def test_beyond_this_machine_both_are_needed_and_what_is_missing_is_named(
    beyond: bool, tls: bool, identity: bool, insecure: bool
) -> None:
    """The whole matrix: starts, starts with a warning, or is refused with the remedy."""
    for listen in EVERYWHERE if beyond else HERE:
        given = settings(listen, tls=tls, identity=identity, insecure=insecure)
        there = {NO_TLS: tls, NO_IDENTITY: identity}
        missing = {each for each in there if beyond and not there[each]}
        with structlog.testing.capture_logs() as logged:
            if missing and not insecure:
                with pytest.raises(SettingsError) as told:
                    check_exposure(given)
                said = str(told.value)
                assert listen in said
                assert "TURNKEEP_INSECURE=1" in said
                assert ("TURNKEEP_TLS_CERTIFICATE_FILE" in said) == (not tls)
            else:
                check_exposure(given)
                said = logged[0]["problem"] if logged else ""
        assert {each for each in there if each in said} == missing
        warned = [(each["log_level"], each["event"]) for each in logged]
        assert warned == ([("warning", "insecure")] if missing and insecure else [])


def test_client_certificates_are_identity_where_they_name_a_tenant() -> None:
    file = Path("/etc/tls")
    mtls = {"tls_certificate_file": file, "tls_key_file": file, "tls_client_ca_file": file}
    asked = Settings(**mtls, listen="0.0.0.0:1")
    assert NO_IDENTITY in what_is_open(asked, beyond=True)
    named = Settings(**mtls, listen="0.0.0.0:1", mtls_tenant="common_name")
    assert what_is_open(named, beyond=True) == ""


@pytest.mark.parametrize("listen", HERE)
def test_loopback_and_sockets_are_of_this_machine(listen: str) -> None:
    assert not reaches_beyond_this_machine(listen)


@pytest.mark.parametrize("listen", EVERYWHERE)
def test_every_other_address_is_beyond_it(listen: str) -> None:
    assert reaches_beyond_this_machine(listen)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Has every host name mean these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in addresses]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)


def test_a_name_is_as_far_as_the_farthest_of_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, "127.0.0.1", "10.0.0.7")
    assert reaches_beyond_this_machine("узел:50051")
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
    assert not reaches_beyond_this_machine("узел:50051")


def test_a_name_that_nobody_knows_is_refused_and_not_taken_for_near() -> None:
    with pytest.raises(StartupError, match="its host name is not known; set TURNKEEP_LISTEN"):
        reaches_beyond_this_machine("нет.invalid:50051")


@pytest.mark.parametrize("listen", [None, "127.0.0.1:9464", "0.0.0.0:9464", "[::]:0"])
def test_metrics_that_others_can_read_are_warned_about(listen: str | None) -> None:
    """Not refused: in a cluster the scraper comes from beyond this machine."""
    with structlog.testing.capture_logs() as logged:
        check_exposure(Settings(listen="127.0.0.1:0", metrics_listen=listen))
    beyond = listen is not None and "127." not in listen
    told = [(each["log_level"], each["event"], each["listen"]) for each in logged]
    assert told == ([("warning", "metrics_open", listen)] if beyond else [])
    with pytest.raises(StartupError, match="TURNKEEP_METRICS_LISTEN"):
        check_exposure(Settings(metrics_listen="нет.invalid:9464"))
