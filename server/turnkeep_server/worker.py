"""`python -m turnkeep_server.worker NUMBER DESCRIPTOR`: one worker, as the supervisor starts it."""

import os
import signal
import sys

import structlog

from turnkeep_server import event_loop
from turnkeep_server.errors import HistoryUnavailable, SettingsError, StartupError
from turnkeep_server.exit_codes import BAD_SETTINGS, FAILED
from turnkeep_server.hangups import ignore_hangups
from turnkeep_server.logs import configure_logs
from turnkeep_server.settings import Settings, load_settings
from turnkeep_server.worker_line import Line


def main(number: int, descriptor: int) -> None:
    """Serves until the supervisor orders the drain. Exits as a single server does."""
    ignore_hangups()
    # For the supervisor, whoever sends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(descriptor)
    try:
        settings = load_settings()
        configure_logs(settings, worker=number)
        event_loop.run(_serve(settings, line), settings)
    except (SettingsError, StartupError, HistoryUnavailable) as error:
        line.failed(str(error))
        sys.exit(BAD_SETTINGS if isinstance(error, SettingsError) else FAILED)
    except Exception:  # noqa: BLE001  # a bug: told without the exception's text, which may hold a secret
        structlog.get_logger().error("failed", exc_info=True)
        sys.exit(FAILED)


async def _serve(settings: Settings, line: Line) -> None:
    # Read when gRPC is imported: what a chain starts is only ever exec'ed.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    from turnkeep_server.app import Server

    await Server(settings, line).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
