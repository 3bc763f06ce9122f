"""A certificate authority for tests: its own certificate, and those that it signs."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_FIELDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
}


class Pair(NamedTuple):
    """A key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """Signs certificates; `certificate` is what others trust it by."""

    def __init__(
        self, name: str = "test authority", *, above: "Authority | None" = None, is_one: bool = True
    ) -> None:
        """Vouched for by the one `above`, or else by itself; not `is_one`: it is none at all."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name([("CN", name)])
        self._is_one = is_one
        self.certificate = (above or self).vouch_for(self)

    def vouch_for(self, other: "Authority") -> bytes:
        """A certificate for another one's name and key."""
        builder = _builder(other._name, self._name, other._key, lasts=timedelta(days=1))
        if other._is_one:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def pair(
        self,
        *subject: tuple[str, str],
        uris: Sequence[str] = (),
        lasts: timedelta = timedelta(days=1),
    ) -> Pair:
        """A new key, and a certificate of 127.0.0.1, localhost and `uris` for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            *(x509.UniformResourceIdentifier(each) for each in uris),
        ]
        builder = _builder(_name(subject), self._name, key, lasts)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Pair(private, _pem(builder.sign(self._key, hashes.SHA256())))


def _name(fields: Sequence[tuple[str, str]]) -> x509.Name:
    return x509.Name([x509.NameAttribute(_FIELDS[field], value) for field, value in fields])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasts)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
