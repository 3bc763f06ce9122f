"""Settings: from the environment, validated once, named when they are wrong."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from turnkeep_server.errors import SettingsError
from turnkeep_server.history.stores import check_url, redacted
from turnkeep_server.setting_variables import (
    CLIENT_VARIABLES,
    described_settings,
    unknown_variables,
)
from turnkeep_server.settings import check_model_key, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNKEEP_MODEL", "TURNKEEP_LISTEN"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    settings = load_settings()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.history_url.get_secret_value() == "local://./data/mongodb"
    assert (settings.model, settings.max_messages, settings.lease_seconds) == (
        "gpt-4o-mini",
        40,
        15,
    )
    assert not settings.reflection


def test_without_a_key_no_model_is_chosen_in_silence() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        check_model_key(load_settings())


def test_an_empty_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        check_model_key(load_settings())


def test_an_empty_prompts_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNKEEP_PROMPTS_FILE", "")
    assert load_settings().prompts_file is None


def test_a_key_out_of_a_file_loses_its_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    key = load_settings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1"


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("TURNKEEP_LISTEN", "unix:/tmp/s", "set TURNKEEP_LISTEN to HOST:PORT"),
        ("TURNKEEP_HEALTH_LISTEN", "unix:/tmp/h", "set TURNKEEP_HEALTH_LISTEN to HOST:PORT"),
        ("TURNKEEP_HISTORY_URL", "memory://", "set TURNKEEP_HISTORY_URL to local://PATH"),
    ],
)
def test_what_several_workers_cannot_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TURNKEEP_WORKERS", "1")
    assert load_settings().workers == 1
    monkeypatch.setenv("TURNKEEP_WORKERS", "2")
    with pytest.raises(SettingsError, match="TURNKEEP_WORKERS: ") as told:
        load_settings()
    assert remedy in str(told.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"TLS_CERTIFICATE_FILE"}, "TURNKEEP_TLS_KEY_FILE is not"),
        ({"TLS_KEY_FILE"}, "TURNKEEP_TLS_CERTIFICATE_FILE is not"),
        ({"MTLS_TENANT"}, "set TURNKEEP_TLS_CLIENT_CA_FILE"),
        ({"TLS_CLIENT_CA_FILE"}, "set TURNKEEP_TLS_CERTIFICATE_FILE and TURNKEEP_TLS_KEY_FILE"),
    ],
)
def test_half_of_tls_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: set[str], missing: str
) -> None:
    for each in given:
        value = "uri" if each == "MTLS_TENANT" else "/etc/tls/сервер.pem"
        monkeypatch.setenv(f"TURNKEEP_{each}", value)
    with pytest.raises(SettingsError, match=missing):
        load_settings()


def test_empty_files_and_addresses_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE", "HEALTH_LISTEN"):
        monkeypatch.setenv(f"TURNKEEP_{each}", "")
    settings = load_settings()
    assert (settings.tls_certificate_file, settings.health_listen) == (None, None)


def test_the_parrot_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNKEEP_MODEL", "parrot")
    check_model_key(load_settings())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TURNKEEP_LEASE_SECONDS", "-1"),
        ("TURNKEEP_LEASE_SECONDS", "soon"),
        ("TURNKEEP_LEASE_SECONDS", "inf"),
        ("TURNKEEP_DRAIN_SECONDS", "nan"),
        ("TURNKEEP_REFLECTION", "perhaps"),
        ("TURNKEEP_MAX_MESSAGES", "-1"),
        ("TURNKEEP_LOG_LEVEL", "loud"),
        ("TURNKEEP_WORKERS", "0"),
        ("TURNKEEP_WORKERS", "65"),
        ("TURNKEEP_WORKERS", "auto"),
        ("TURNKEEP_LISTEN", "50051"),
        ("TURNKEEP_LISTEN", "localhost:http"),
        ("TURNKEEP_LISTEN", "127.0.0.1:70000"),
        ("TURNKEEP_HISTORY_URL", "mysql://x"),
        ("OPENAI_BASE_URL", "no url"),
        ("OPENAI_BASE_URL", "http://[::1"),
        ("OPENAI_API_KEY", "ключ"),
        ("OPENAI_API_KEY", "two words"),
        ("TURNKEEP_LISTEN", "::1:50051"),
        ("TURNKEEP_LISTEN", "unix:"),
        ("TURNKEEP_MAX_INPUT_TOKENS", "0"),
        ("TURNKEEP_SUMMARY", "maybe"),
        ("TURNKEEP_CHAIN", "no colon"),
        ("TURNKEEP_CHAIN", "package:"),
        ("TURNKEEP_MODEL_FIGURES", "{"),
        ("TURNKEEP_MODEL_FIGURES", "[]"),
        ("TURNKEEP_MODEL_FIGURES", '{"gpt-4o-mini": {"context": 1}}'),
        ("TURNKEEP_MODEL_FIGURES", '{"gpt-4o-mini": {"context_tokens": 0}}'),
        ("TURNKEEP_MODEL_FIGURES", '{"gpt-4o-mimi": {}}'),
        ("TURNKEEP_HEALTH_LISTEN", "50052"),
        ("TURNKEEP_INSECURE", "perhaps"),
        ("TURNKEEP_MAX_CONNECTION_AGE_SECONDS", "-1"),
        ("TURNKEEP_KEEPALIVE_SECONDS", "0"),
        ("TURNKEEP_MAX_CONCURRENT_STREAMS", "0"),
    ],
)
def test_a_bad_value_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings()


def test_a_mistyped_variable_is_warned_about_with_the_nearest() -> None:
    (warning,) = unknown_variables({"TURNKEEP_MODLE": "x", "TURNKEEP_MODEL": "y", "PATH": "z"})
    assert "TURNKEEP_MODLE" in warning
    assert "did you mean TURNKEEP_MODEL?" in warning


def test_the_terminal_clients_variables_are_not_warned_about() -> None:
    assert not [*unknown_variables(dict.fromkeys(CLIENT_VARIABLES, "x"))]


def test_settings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    with pytest.raises(ValidationError):
        load_settings().model = "other"  # type: ignore[misc]


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("TURNKEEP_HISTORY_URL", "mongodb://user:canary@h:1,h:2/db?authSource=canary")
    settings = load_settings()
    assert "canary" not in repr(settings) + str(settings)
    assert redacted(settings.history_url) == "mongodb://h:1,h:2/db"
    check_url(settings.history_url)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://u:p/canary@127.0.0.1:1/x",
        "mongodb+srv://u:a/canary@h.example/x",
        "mongodb://u:a@canary/b@127.0.0.1:1/x",
        "mongodb://u:1/canary@127.0.0.1:1",
        "mongodb://u:1?canary=x@127.0.0.1:1/x",
        "mongodb://u:canary@",
        "mongodb://u:canary",
        "mongodb://u:canary@[",
        "mongodb://u:canary／@h:x",
        "mongodb:u:canary@h",
    ],
)
def test_a_url_with_an_unescaped_password_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """With the remedy; before anything is logged or connected to."""
    monkeypatch.setenv("TURNKEEP_MODEL", "parrot")
    monkeypatch.setenv("TURNKEEP_HISTORY_URL", url)
    with pytest.raises(SettingsError, match=r"TURNKEEP_HISTORY_URL: .*%2F for /") as raised:
        load_settings()
    for told in (str(raised.value), redacted(SecretStr(url))):
        assert "canary" not in told
    assert redacted(SecretStr(url)).endswith("://(not shown)")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://u:p%2F%40@h:1,[::1]:27017/db?appName=canary", "mongodb://h:1,[::1]:27017/db"),
        ("mongodb://u:p#／@h", "mongodb://h"),
        ("mongodb+srv://u:canary@h.example/?w=majority", "mongodb+srv://h.example/"),
        ("mongodb://%2Ftmp%2Fa-b%2Fmongodb.sock/x?y=z", "mongodb://%2Ftmp%2Fa-b%2Fmongodb.sock/x"),
        ("local://./data/a@b", "local://./data/a@b"),
        ("memory://", "memory://"),
    ],
)
def test_of_a_url_hosts_and_path_are_shown(
    monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("TURNKEEP_MODEL", "parrot")
    monkeypatch.setenv("TURNKEEP_HISTORY_URL", url)
    assert redacted(load_settings().history_url) == shown


def test_every_setting_is_described() -> None:
    for variable, _, meaning in described_settings():
        assert variable.startswith(("TURNKEEP_", "OPENAI_"))
        assert meaning, variable


def test_the_operations_page_lists_every_setting_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for variable, default, meaning in described_settings():
        shown = f"`{default}`" if default else "not set"
        assert f"| `{variable}` | {shown} | {meaning} |\n" in page


_JWT = {"TURNKEEP_JWT_ISSUER": "https://issuer.example/", "TURNKEEP_JWT_AUDIENCE": "turnkeep"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({**_JWT, "TURNKEEP_JWT_JWKS": "http://issuer.example/jwks"}, "https:"),
        ({**_JWT, "TURNKEEP_JWT_JWKS": "https://u:canary@issuer.example/jwks"}, "password"),
        ({"TURNKEEP_JWT_JWKS": "jwks"}, "TURNKEEP_JWT_ISSUER, TURNKEEP_JWT_AUDIENCE"),
        (_JWT, "TURNKEEP_JWT_JWKS"),
        ({"TURNKEEP_JWT_ALGORITHMS": "none"}, "TURNKEEP_JWT_ALGORITHMS"),
        ({"TURNKEEP_JWT_ALGORITHMS": "ES256,HS256"}, "TURNKEEP_JWT_ALGORITHMS"),
        ({"TURNKEEP_JWT_ALGORITHMS": ","}, "TURNKEEP_JWT_ALGORITHMS"),
        ({"TURNKEEP_MTLS_TENANT": "serial"}, "TURNKEEP_MTLS_TENANT"),
        ({"TURNKEEP_MTLS_ROLE": "owner"}, "TURNKEEP_MTLS_ROLE"),
    ],
)
def test_bad_settings_of_identity_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=told) as raised:
        load_settings()
    assert "canary" not in str(raised.value)


_MTLS = {f"TURNKEEP_TLS_{name}_FILE": "a.pem" for name in ("CERTIFICATE", "KEY", "CLIENT_CA")}


@pytest.mark.parametrize(
    ("variables", "identity"),
    [
        ({}, False),
        ({"TURNKEEP_KEYS_FILE": ""}, False),
        ({"TURNKEEP_KEYS_FILE": "keys"}, True),
        ({**_JWT, "TURNKEEP_JWT_JWKS": "jwks"}, True),
        ({**_JWT, "TURNKEEP_JWT_JWKS": "http://[::1]:8080/jwks"}, True),
        ({**_MTLS, "TURNKEEP_MTLS_TENANT": "uri"}, True),
    ],
)
def test_any_credential_makes_them_needed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], identity: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().identity is identity
