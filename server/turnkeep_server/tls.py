"""TLS for the server's port, by certificates that may be replaced while it serves."""

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta

import grpc
import structlog
from cryptography import x509

from turnkeep_server.certificates import (
    CertificateFiles,
    check_files,
    is_readable_by_others,
    read_files,
)
from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings

_LOOK_EVERY_SECONDS = 0.5
_TOLD_AHEAD = timedelta(days=14)
_TELL_EVERY_SECONDS = 86_400.0


class Tls:
    """The certificate, key and client authorities of one server, as its files have them.

    The files are read twice a second, whole: a few kilobytes, and unlike times and sizes their
    content shows every change, however it was made (a rename, a link of Kubernetes that is turned
    to another folder, a file written anew in its place). What has changed is taken once two
    readings in a row agree, so that a pair that is being written is not; and only if it is good.
    """

    def __init__(self, settings: Settings) -> None:
        """Reads and checks the files. Raises SettingsError for those that cannot serve."""
        files = read_files(settings)
        if files is None:
            raise ValueError("these settings have no TLS")
        self._settings = settings
        self._certificate = check_files(files, settings)
        self._in_use = files
        # Between the event loop, which reads, and gRPC's threads, which ask at each handshake.
        self._new = deque[grpc.ServerCertificateConfiguration](maxlen=1)
        self._log = structlog.get_logger()
        if is_readable_by_others(settings.tls_key_file):
            self._log.warning(
                "tls_key_readable_by_others",
                file=str(settings.tls_key_file),
                remedy="chmod o-r (Kubernetes: defaultMode 0440 of the secret's volume)",
            )

    def client_ca(self) -> bytes:
        """The authorities of clients, as PEM: the same object until they are replaced."""
        return self._in_use.client_ca or b""

    def credentials(self) -> grpc.ServerCredentials:
        """For the port: TLS 1.2 or newer, whose next handshakes use what is newest then."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._in_use),
            self._newest,  # type: ignore[arg-type]  # typeshed does not know of None: nothing new
            # All or nothing: gRPC's Python can ask for no certificate that may also be missing.
            require_client_authentication=self._in_use.client_ca is not None,
        )

    async def follow(self) -> None:
        """Takes up what the files become, until cancelled. The log tells what was taken or not."""
        before: CertificateFiles | str = self._in_use
        judged = before
        loop, tell_at = asyncio.get_running_loop(), 0.0
        while True:
            if loop.time() >= tell_at:
                self._tell_expiry()
                tell_at = loop.time() + _TELL_EVERY_SECONDS
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            found = await asyncio.to_thread(self._read)
            if found == before and found != judged:
                self._judge(found)
                judged = found
            before = found

    def _read(self) -> CertificateFiles | str:
        """What the files hold, or why they cannot be read."""
        try:
            files = read_files(self._settings)
        except SettingsError as error:
            return str(error)
        assert files is not None  # noqa: S101  # the settings are frozen
        return files

    def _judge(self, found: CertificateFiles | str) -> None:
        """Takes what was found for the next handshakes, or says why not."""
        if found == self._in_use:
            return  # what was broken for a while is as it was
        try:
            self._take(found)
        except SettingsError as error:
            self._log.error("certificate_not_reloaded", problem=str(error))
        else:
            self._log.info("certificate_reloaded", **_described(self._certificate))

    def _take(self, found: CertificateFiles | str) -> None:
        if isinstance(found, str):
            raise SettingsError(found)
        self._certificate = check_files(found, self._settings)
        self._in_use = found
        self._new.append(_configuration(found))

    def _newest(self) -> grpc.ServerCertificateConfiguration | None:
        """What is new since a handshake asked last; None says that there is nothing."""
        try:
            return self._new.pop()
        except IndexError:
            return None

    def _tell_expiry(self) -> None:
        if self._certificate.not_valid_after_utc - datetime.now(UTC) < _TOLD_AHEAD:
            self._log.warning("certificate_expires", **_described(self._certificate))


def _configuration(files: CertificateFiles) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.chain)], files.client_ca)


def _described(certificate: x509.Certificate) -> dict[str, str]:
    return {
        "serial": f"{certificate.serial_number:x}",
        "expires": f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    }
