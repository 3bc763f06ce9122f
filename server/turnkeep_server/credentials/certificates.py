"""Client certificates: the handshake has verified them, and here they are read."""

import time
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from turnkeep_server.caller import NAME, Caller, CallerRole
from turnkeep_server.credentials.contract import expired, not_valid
from turnkeep_server.errors import BadCredentials

_MOST_REMEMBERED = 10_000


class _Read(NamedTuple):
    caller: Caller | BadCredentials
    not_after: float  # seconds since 1970


class Certificates:
    """Callers by their certificates; `field` is a key of TENANT_FIELDS.

    A connection outlives the certificate that it was made with, so its end is looked at each call.
    """

    def __init__(self, field: str, role: CallerRole) -> None:
        self._names = TENANT_FIELDS[field]
        self._role = role
        self._read_before: dict[bytes, _Read] = {}

    def caller(self, pem: bytes) -> Caller:
        """Whose certificate it is. Raises BadCredentials."""
        found = self._read_before.get(pem)
        if found is None:
            if len(self._read_before) >= _MOST_REMEMBERED:
                self._read_before.clear()
            found = self._read_before[pem] = self._read(pem)
        if found.not_after <= time.time():
            raise expired("certificate expired")
        if isinstance(found.caller, BadCredentials):
            # Not the remembered one: a traceback would grow on it with every call.
            raise not_valid(found.caller.why)
        return found.caller

    def _read(self, pem: bytes) -> _Read:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = self._names(certificate)
            not_after = certificate.not_valid_after_utc.timestamp()
        except ValueError:
            return _Read(not_valid("certificate cannot be read"), float("inf"))
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
