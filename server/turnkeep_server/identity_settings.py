"""The settings of identity: how callers show who they are."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from turnkeep_server.setting_types import Seconds, separated_by_commas, unset_if_empty

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class IdentitySettings(BaseSettings):
    """A part of `Settings`."""

    keys_file: Path | None = Field(
        None,
        description="file of API keys, hashed, one a line; turnkeep-server key new makes one. "
        "With this, TURNKEEP_JWT_JWKS or TURNKEEP_MTLS_TENANT every call needs a credential",
    )
    jwt_jwks: str | None = Field(
        None, description="public keys of JWTs, a JWKS: an https: URL or a file's path"
    )
    jwt_issuer: str | None = Field(None, description="iss that a JWT must have")
    jwt_audience: str | None = Field(None, description="aud that a JWT must have")
    jwt_algorithms: Annotated[frozenset[Algorithm], NoDecode] = Field(
        frozenset[Algorithm]({"RS256", "ES256"}),
        min_length=1,
        description="algorithms that a JWT may be signed with, separated by commas: "
        f"{', '.join(get_args(Algorithm))}",
    )
    jwt_tenant_claim: str = Field(
        "tenant", min_length=1, description="claim of a JWT that names the tenant"
    )
    jwt_user_claim: str | None = Field(
        None, description="claim of a JWT that names the one user_id it is good for"
    )
    jwt_role_claim: str | None = Field(
        None,
        description="claim of a JWT that names the role: reader, caller or admin; without one, "
        "every JWT has the role caller",
    )
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=300, description="how far the clocks of issuer and server may be apart"
    )
    jwt_refresh_seconds: Seconds = Field(
        300.0, description="time between two readings of a JWKS at a URL"
    )
    mtls_tenant: Literal["off", "common_name", "organization", "uri"] = Field(
        "off",
        description="what of a client's certificate names the tenant: the subject's common name or "
        "organization, or the one URI among its alternative names; off takes no certificate "
        "for a credential",
    )
    mtls_role: Literal["reader", "caller", "admin"] = Field(
        "caller", description="role of callers who are known by their certificate"
    )

    @property
    def identity(self) -> bool:
        """Whether callers need a credential."""
        return bool(self.keys_file or self.jwt_jwks or self.mtls_tenant != "off")

    @field_validator("jwt_jwks")
    @classmethod
    def _https_or_file(cls, value: str | None) -> str | None:
        if value is None or "://" not in value:
            return value
        try:
            parts = urlsplit(value)
            this_machine = parts.hostname in {"127.0.0.1", "::1", "localhost"}
            encrypted = parts.scheme == "https" or (parts.scheme == "http" and this_machine)
            valid = bool(parts.hostname) and encrypted and "@" not in parts.netloc
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(
                "write an https: URL without a password (http: is for this machine alone: whoever "
                "can change the answer can forge tokens), or the path of a file"
            )
        return value

    @model_validator(mode="after")
    def _tokens_have_issuer_and_audience(self) -> Self:
        needed = {
            "TURNKEEP_JWT_JWKS": self.jwt_jwks,
            "TURNKEEP_JWT_ISSUER": self.jwt_issuer,
            "TURNKEEP_JWT_AUDIENCE": self.jwt_audience,
        }
        if any(needed.values()) and not all(needed.values()):
            missing = ", ".join(name for name, value in needed.items() if not value)
            raise ValueError(f"JWTs need {missing}, too: a token meant for others is not for us")
        return self

    _identity_lists = field_validator("jwt_algorithms", mode="before")(separated_by_commas)
    _empty_identity_is_unset = field_validator(
        "keys_file",
        "jwt_jwks",
        "jwt_issuer",
        "jwt_audience",
        "jwt_user_claim",
        "jwt_role_claim",
        mode="before",
    )(unset_if_empty)
