"""What a MongoDB URL may say: nothing that would lose an answered turn."""

import re
from typing import Any

from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

from turnkeep_server.errors import SettingsError
from turnkeep_server.history.stores import HOW_TO_WRITE_MONGODB

NOT_VALID = f"TURNKEEP_HISTORY_URL is no valid MongoDB URL; {HOW_TO_WRITE_MONGODB}"
_DEFAULT_DATABASE = "turnkeep"
_WEAKENING = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "retryWrites": True,
}


def checked_database(url: str) -> str:
    """The database that the URL names, `turnkeep` if it names none.

    Raises SettingsError for a URL that is malformed or weakens durability; never quotes it.
    """
    try:
        parsed = parse_uri(_without_dns(url), warn=False)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise SettingsError(NOT_VALID) from error
    options: dict[str, Any] = parsed["options"]
    for name, durable in _WEAKENING.items():
        if options.get(name, durable) != durable:
            raise SettingsError(
                f"TURNKEEP_HISTORY_URL sets {name}={options[name]}, which would lose answered "
                f"turns; leave it out (Turnkeep uses {name}={durable})"
            )
    if options.get("readPreference", "primary").lower() != "primary":
        raise SettingsError("TURNKEEP_HISTORY_URL: readPreference must be primary; leave it out")
    return parsed["database"] or _DEFAULT_DATABASE


def _without_dns(url: str) -> str:
    """A mongodb+srv URL as one that can be checked offline: names are looked up at the connect."""
    if not url.startswith("mongodb+srv://"):
        return url
    plain = url.replace("mongodb+srv://", "mongodb://", 1)
    return re.sub(r"(?<=[?&])srv(MaxHosts|ServiceName)=[^&]*&?", "", plain, flags=re.IGNORECASE)
