"""Files of TLS that could not serve are refused with their name and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.kit.tls_files import Authority, Pair
from turnkeep_server.certificates import (
    check_files,
    is_readable_by_others,
    names_of,
    read_files,
)
from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings

CA = Authority()
GOOD = CA.issue("turnkeep.example", "10.0.0.7")
OTHER = CA.issue()
KEY, CERTIFICATE, CLIENT_CA = (
    "TURNKEEP_TLS_KEY_FILE",
    "TURNKEEP_TLS_CERTIFICATE_FILE",
    "TURNKEEP_TLS_CLIENT_CA_FILE",
)


def with_passphrase(key: bytes) -> bytes:
    encryption = BestAvailableEncryption(b"canary")
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, encryption
    )


def checked(folder: Path, pair: Pair, client_ca: bytes | None = None) -> tuple[str, ...]:
    """The names of the certificate, if the files are good."""
    files = pair.write(folder, "сервер 服务器")
    ca = folder / "clients.pem"
    if client_ca is not None:
        ca.write_bytes(client_ca)
    settings = Settings(
        tls_certificate_file=files.certificate,
        tls_key_file=files.key,
        tls_client_ca_file=None if client_ca is None else ca,
    )
    found = read_files(settings)
    assert found is not None
    return tuple(names_of(check_files(found, settings)))


def test_a_good_pair_is_taken(tmp_path: Path) -> None:
    assert checked(tmp_path, GOOD, CA.pem) == ("turnkeep.example", "10.0.0.7")


@pytest.mark.parametrize(
    ("pair", "variable", "remedy"),
    [
        (Pair(b"", GOOD.key), CERTIFICATE, "-----BEGIN CERTIFICATE-----"),
        (Pair("не PEM 🙂".encode(), GOOD.key), CERTIFICATE, "-----BEGIN CERTIFICATE-----"),
        (Pair(GOOD.key, GOOD.key), CERTIFICATE, "-----BEGIN CERTIFICATE-----"),
        (Pair(GOOD.chain[:200], GOOD.key), CERTIFICATE, "or a broken one"),
        (Pair(GOOD.chain + CA.pem[:90], GOOD.key), CERTIFICATE, "is cut off"),
        (Pair(b"x" * (2**20 + 1), GOOD.key), CERTIFICATE, "is it the right file?"),
        (Pair(GOOD.chain, b""), KEY, "-----BEGIN PRIVATE KEY-----"),
        (Pair(GOOD.chain, GOOD.chain), KEY, "-----BEGIN PRIVATE KEY-----"),
        (Pair(GOOD.chain, GOOD.key[:100]), KEY, "or a broken one"),
        (Pair(GOOD.chain, with_passphrase(GOOD.key)), KEY, "has a passphrase"),
        (Pair(GOOD.chain, OTHER.key), KEY, "is not the key of the certificate in"),
        (Pair(CA.pem + GOOD.chain, GOOD.key), KEY, "first certificate must be the server's own"),
        (CA.issue(begins_days=-9, expires_days=-1), CERTIFICATE, "expired at 20"),
        (CA.issue(begins_days=1), CERTIFICATE, "not valid before 20"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_serve_is_refused(
    tmp_path: Path, pair: Pair, variable: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as told:
        checked(tmp_path, pair)
    said = str(told.value)
    assert said.startswith(f"{variable}: ")
    assert "сервер 服务器" in said
    assert remedy in said
    assert GOOD.key.decode().splitlines()[1] not in said


@pytest.mark.parametrize(
    "content", [b"", GOOD.key, CA.pem[:100]], ids=["empty", "a key", "cut off"]
)
def test_authorities_of_clients_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError, match=CLIENT_CA):
        checked(tmp_path, GOOD, content)


@pytest.mark.parametrize("variable", [CERTIFICATE, KEY, CLIENT_CA])
@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir], ids=["missing", "a folder"])
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, variable: str, make: Callable[[Path], None]
) -> None:
    files = GOOD.write(tmp_path)
    missing = tmp_path / "нет.pem"
    make(missing)
    named = {CERTIFICATE: files.certificate, KEY: files.key, CLIENT_CA: files.certificate}
    named[variable] = missing
    settings = Settings(
        tls_certificate_file=named[CERTIFICATE],
        tls_key_file=named[KEY],
        tls_client_ca_file=named[CLIENT_CA],
    )
    with pytest.raises(SettingsError, match=f"{variable}: cannot read .*нет.pem: "):
        read_files(settings)


def test_without_tls_there_is_nothing_to_read() -> None:
    assert read_files(Settings()) is None


def test_a_key_that_everybody_may_read_is_noticed(tmp_path: Path) -> None:
    key = GOOD.write(tmp_path).key
    for mode, readable in ((0o600, False), (0o640, False), (0o644, True), (0o604, True)):
        key.chmod(mode)
        assert is_readable_by_others(key) is readable
