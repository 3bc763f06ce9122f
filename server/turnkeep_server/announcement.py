"""The one line on stdout that says: serving, where, over which history, with which model."""

import click

from turnkeep_server.exposure import described_security, has_tls
from turnkeep_server.history.stores import redacted
from turnkeep_server.logs import for_people
from turnkeep_server.settings import Settings

_READY_CALL = """try it:
  .venv/bin/buf curl --protocol grpc --http2-prior-knowledge \\
    -d '{{"session_id": "42", "text": "Привет! Меня зовут Виктор"}}' \\
    http://{address}/turnkeep.v1.ConversationService/Chat
or, with grpcurl:
  grpcurl -plaintext -d '{{"session_id": "42", "text": "Привет! Меня зовут Виктор"}}' \\
    {address} turnkeep.v1.ConversationService/Chat"""


def announce(
    settings: Settings, address: str, health_address: str | None, metrics_address: str = ""
) -> None:
    """Writes the line, once calls are served on `address`; to people also how to make one.

    `health_address`: where health checks alone are answered, if anywhere; `metrics_address`: where
    Prometheus is, "" if nowhere.
    """
    history = redacted(settings.history_url)
    model = f"chain {settings.chain}" if settings.chain else f"model {settings.model}"
    workers = f" · {settings.workers} workers" if settings.workers > 1 else ""
    health = f" · health on {health_address}" if health_address else ""
    metrics = f" · metrics http://{metrics_address}/metrics" if metrics_address else ""
    click.echo(
        f"turnkeep serving on {address} · {described_security(settings)} · history {history} · "
        f"{model}{workers}{health}{metrics}"
    )
    open_to_all = not (has_tls(settings) or settings.identity)
    if settings.reflection and open_to_all and for_people(settings):
        click.echo(_READY_CALL.format(address=address), err=True)
