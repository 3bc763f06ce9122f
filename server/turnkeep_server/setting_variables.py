"""The settings as their operator sees them: variables, with defaults and meanings."""

import difflib
import os
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from turnkeep_server.identity_settings import IdentitySettings
from turnkeep_server.model_settings import ModelSettings
from turnkeep_server.request_limits import Limits
from turnkeep_server.setting_types import PREFIX, variable
from turnkeep_server.settings import Settings
from turnkeep_server.tenant_limits import TenantLimitSettings
from turnkeep_server.transport_settings import TransportSettings

# What configures the command `turnkeep`, the terminal client: known here too, since whoever uses
# both on one machine has them in one environment.
CLIENT_VARIABLES = frozenset(
    {
        "TURNKEEP_SERVER",
        "TURNKEEP_TOKEN",
        "TURNKEEP_TOKEN_FILE",
        "TURNKEEP_TLS",
        "TURNKEEP_CA_FILE",
        "TURNKEEP_CERTIFICATE_FILE",
        "TURNKEEP_CERTIFICATE_KEY_FILE",
        "TURNKEEP_USER",
        "TURNKEEP_LINE_HISTORY",
    }
)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A warning for each TURNKEEP_ variable that is no setting, with the nearest that is one.

    The terminal client's own are none of the server's business.

    Only a warning: Kubernetes puts TURNKEEP_PORT and the like into every pod beside a service
    named turnkeep.
    """
    known = {variable(name) for name in Settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known | CLIENT_VARIABLES:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")


def set_variables(settings: Settings) -> Iterator[str]:
    """The variables that the environment sets."""
    yield from sorted(map(variable, settings.model_fields_set))


_PARTS = (
    Settings,
    ModelSettings,
    IdentitySettings,
    TransportSettings,
    TenantLimitSettings,
    Limits,
)


def described_settings() -> Iterator[tuple[str, str, str]]:
    """Each setting's variable, default (empty if it has none) and meaning; the limits last."""
    for part in _PARTS:
        for name in part.__annotations__:
            if field := part.model_fields.get(name):
                yield variable(name), _shown(field.default), field.description or ""


def _shown(default: object) -> str:
    """A default as it would be written in the environment."""
    match default:
        case SecretStr():
            return default.get_secret_value()
        case bool():
            return str(int(default))
        case float():
            return f"{default:g}"
        case None | dict():
            return ""
        case frozenset():
            return ",".join(sorted(default))
        case _:
            return str(default)
