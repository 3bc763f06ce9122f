"""Certificates for the tests of TLS, made when they are needed, and files that are replaced."""

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509

_KEY_TYPE = trustme.KeyType.ECDSA  # made in a millisecond


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, with what is above it, and its key, in PEM form."""

    chain: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """By which the certificate is told from others."""
        return x509.load_pem_x509_certificate(self.chain).serial_number

    def write(self, folder: Path, name: str = "tls") -> "PairFiles":
        """Writes NAME.crt and NAME.key, the key for its owner alone."""
        files = PairFiles(folder / f"{name}.crt", folder / f"{name}.key")
        files.certificate.write_bytes(self.chain)
        files.key.write_bytes(self.key)
        files.key.chmod(0o600)
        return files


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a pair is."""

    certificate: Path
    key: Path

    def settings(self) -> dict[str, str]:
        """What has a server use it."""
        return {
            "TURNKEEP_TLS_CERTIFICATE_FILE": str(self.certificate),
            "TURNKEEP_TLS_KEY_FILE": str(self.key),
        }

    def replace_by_rename(self, pair: Pair) -> None:
        """As careful programs do: written beside, then put in place."""
        folder = self.certificate.parent
        new = pair.write(folder, ".new")
        os.replace(new.certificate, self.certificate)
        os.replace(new.key, self.key)

    def replace_in_place(self, pair: Pair) -> None:
        """As `cp` does: the same files, with other content."""
        self.certificate.write_bytes(pair.chain)
        self.key.write_bytes(pair.key)


class Authority:
    """An authority of the tests' own."""

    def __init__(self) -> None:
        self._ca = trustme.CA(key_type=_KEY_TYPE)

    @property
    def pem(self) -> bytes:
        """Its certificate: who has it trusts all that it issued."""
        return self._ca.cert_pem.bytes()

    def write(self, file: Path) -> Path:
        """Writes its certificate."""
        file.write_bytes(self.pem)
        return file

    def issue(
        self,
        *names: str,
        common_name: str | None = None,
        begins_days: float = -1.0,
        expires_days: float = 365.0,
    ) -> Pair:
        """A pair for these host names and addresses, in force between two days from now."""
        now = datetime.now(UTC)
        made = self._ca.issue_cert(
            *(names or ("localhost", "127.0.0.1")),
            common_name=common_name,
            not_before=now + timedelta(days=begins_days),
            not_after=now + timedelta(days=expires_days),
            key_type=_KEY_TYPE,
        )
        chain = b"".join(each.bytes() for each in made.cert_chain_pems)
        return Pair(chain, made.private_key_pem.bytes())


def shown_serial(address: str) -> int:
    """The serial number of the certificate that a new connection to host:port is shown."""
    host, _, port = address.rpartition(":")
    shown = ssl.get_server_certificate((host, int(port)), timeout=10)
    return x509.load_pem_x509_certificate(shown.encode()).serial_number
