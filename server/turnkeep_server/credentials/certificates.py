"""Client certificates: the handshake has verified them, and here they are read.

The handshake did so once, for as long as the connection lasts, by the authorities of then. Whether
one of those that the server has now stands above a certificate is looked at here.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from turnkeep_server.caller import NAME, Caller, CallerRole
from turnkeep_server.credentials.contract import expired, not_valid
from turnkeep_server.errors import BadCredentials

_MOST_REMEMBERED = 10_000
_MOST_ABOVE = 10


class _Read(NamedTuple):
    caller: Caller | BadCredentials
    not_after: float  # seconds since 1970


class Certificates:
    """Callers by their certificates; `field` is a key of TENANT_FIELDS.

    A connection outlives the certificate that it was made with, and the authority that signed it:
    the one's end is looked at each call, the other's whenever the authorities change.
    """

    def __init__(self, field: str, role: CallerRole, client_ca: Callable[[], bytes]) -> None:
        """`client_ca`: the authorities as PEM, the same object until they change."""
        self._names = TENANT_FIELDS[field]
        self._role = role
        self._client_ca = client_ca
        self._judged_by = b""
        self._authorities: Sequence[x509.Certificate] = ()
        self._read_before: dict[tuple[bytes, bytes], _Read] = {}

    def caller(self, pem: bytes, above: bytes = b"") -> Caller:
        """Whose certificate it is. `above`: those between it and the authority, as they were shown.

        Raises BadCredentials.
        """
        if (client_ca := self._client_ca()) is not self._judged_by:
            self._judged_by, self._read_before = client_ca, {}
            self._authorities = _all_in(client_ca)
        found = self._read_before.get((pem, above))
        if found is None:
            if len(self._read_before) >= _MOST_REMEMBERED:
                self._read_before.clear()
            found = self._read_before[pem, above] = self._read(pem, above)
        if found.not_after <= time.time():
            raise expired("certificate expired")
        if isinstance(found.caller, BadCredentials):
            # Not the remembered one: a traceback would grow on it with every call.
            raise not_valid(found.caller.why)
        return found.caller

    def _read(self, pem: bytes, above: bytes) -> _Read:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = self._names(certificate)
            not_after = certificate.not_valid_after_utc.timestamp()
        except ValueError:
            return _Read(not_valid("certificate cannot be read"), float("inf"))
        if not _is_vouched_for(certificate, _all_in(above), self._authorities):
            return _Read(not_valid("certificate's authority is not trusted any more"), not_after)
        if len(names) != 1 or not NAME.fullmatch(names[0]):
            return _Read(not_valid("certificate names no tenant, or several"), not_after)
        serial = f"{certificate.serial_number:x}"
        return _Read(
            Caller(
                tenant=names[0],
                credential=f"certificate:{serial}",
                role=self._role,
                may_add_system=self._role is CallerRole.ADMIN,
            ),
            not_after,
        )


def _all_in(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _is_vouched_for(
    certificate: x509.Certificate,
    above: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
) -> bool:
    """Whether a way of signatures leads from it to one of the authorities.

    Not whether the certificates on it are good: the handshake has seen to that.
    """
    found, others = [certificate], [each for each in above[:_MOST_ABOVE] if _may_sign(each)]
    for below in found:  # which grows
        if below in authorities or any(_signed(below, each) for each in authorities):
            return True
        found += [each for each in others if each not in found and _signed(below, each)]
    return False


def _signed(below: x509.Certificate, by: x509.Certificate) -> bool:
    if not by.not_valid_before_utc <= datetime.now(UTC) <= by.not_valid_after_utc:
        return False
    try:
        below.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's: a caller's own certificate vouches for nobody."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.value.ca


def _subject(oid: x509.ObjectIdentifier) -> Callable[[x509.Certificate], list[str]]:
    def names(certificate: x509.Certificate) -> list[str]:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)]

    return names


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.UniformResourceIdentifier)


TENANT_FIELDS: dict[str, Callable[[x509.Certificate], list[str]]] = {
    "common_name": _subject(NameOID.COMMON_NAME),
    "organization": _subject(NameOID.ORGANIZATION_NAME),
    "uri": _uris,  # such as a SPIFFE id
}
"""What of a certificate may name the tenant; exactly one such name must be in it."""
