"""The files of TLS: read, and refused where they could not serve, with the file and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings

_MAX_FILE_BYTES = 2**20
_READABLE_BY_OTHERS = 0o004
_CERTIFICATE, _KEY, _CLIENT_CA = (
    "TURNKEEP_TLS_CERTIFICATE_FILE",
    "TURNKEEP_TLS_KEY_FILE",
    "TURNKEEP_TLS_CLIENT_CA_FILE",
)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """What the files held when they were read. `client_ca` is None where no client is asked."""

    chain: bytes
    key: bytes
    client_ca: bytes | None

    def __repr__(self) -> str:
        return "CertificateFiles(…)"  # one of them is a secret


def read_files(settings: Settings) -> CertificateFiles | None:
    """The files that the settings name; None without TLS. Raises SettingsError."""
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        return None
    client_ca = settings.tls_client_ca_file
    return CertificateFiles(
        chain=_read(_CERTIFICATE, certificate),
        key=_read(_KEY, key),
        client_ca=_read(_CLIENT_CA, client_ca) if client_ca else None,
    )


def check_files(files: CertificateFiles, settings: Settings) -> x509.Certificate:
    """The server's certificate, once it is sure that clients can be served with these files.

    One that has expired is refused, too: no client would accept it, so a server that came up with
    it would look well and answer nobody. Raises SettingsError.
    """
    own = _certificates(_CERTIFICATE, settings.tls_certificate_file, files.chain)[0]
    _check_in_force(own, f"{_CERTIFICATE}: {settings.tls_certificate_file}", "a new one")
    _check_key(own, settings, files.key)
    if files.client_ca is not None:
        authorities = _certificates(_CLIENT_CA, settings.tls_client_ca_file, files.client_ca)
        if not any(_is_in_force(each) for each in authorities):
            place = f"{_CLIENT_CA}: {settings.tls_client_ca_file}"
            _check_in_force(authorities[0], place, "authorities that are in force")
    return own


def is_readable_by_others(file: Path | None) -> bool:
    """Whether every user of this machine may read the file."""
    return file is not None and bool(file.stat().st_mode & _READABLE_BY_OTHERS)


def names_of(certificate: x509.Certificate) -> Sequence[str]:
    """The host names and addresses that the certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def _read(variable: str, file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        who = "; the server's user must be allowed to" if isinstance(error, PermissionError) else ""
        problem = (error.strerror or "error").lower()
        raise SettingsError(f"{variable}: cannot read {file}: {problem}{who}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise SettingsError(f"{variable}: {file} is over 1 MiB: is it the right file?")
    return content


def _certificates(variable: str, file: Path | None, content: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise SettingsError(
            f"{variable}: {file} holds no certificate in PEM form, or a broken one; it begins "
            "-----BEGIN CERTIFICATE-----"
        ) from error
    # Of a file that is cut off in the middle, the whole ones before that are found.
    if content.count(b"-----BEGIN ") != content.count(b"-----END "):
        raise SettingsError(f"{variable}: {file} is cut off: its last certificate has no end")
    return found


def _check_key(own: x509.Certificate, settings: Settings, content: bytes) -> None:
    place = f"{_KEY}: {settings.tls_key_file}"
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise SettingsError(
            f"{place} has a passphrase, which a server cannot be asked for: write the key without "
            "one (openssl pkey -in KEY -out FILE)"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"{place} holds no private key in PEM form, or a broken one; it begins "
            "-----BEGIN PRIVATE KEY-----"
        ) from error
    if key.public_key() != own.public_key():
        raise SettingsError(
            f"{place} is not the key of the certificate in {settings.tls_certificate_file}, whose "
            "first certificate must be the server's own: give both files of one pair"
        )


def _check_in_force(certificate: x509.Certificate, place: str, remedy: str) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise SettingsError(f"{place}: the certificate expired at {ended}: put {remedy} there")
    if now < certificate.not_valid_before_utc:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise SettingsError(
            f"{place}: the certificate is not valid before {begins}: put {remedy} there, or set "
            "this machine's clock"
        )


def _is_in_force(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
