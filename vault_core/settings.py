"""The settings of the app: one frozen model, read from the environment once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
Tenant = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]


_PLAINER = {"bool_parsing": "must be true or false"}


class SettingsInvalid(Exception):
    """A setting is missing or unusable. Names the settings, never their values: some are confidential."""


class Settings(BaseModel):
    """What an operator decides. Every field is read from the variable that `variable` names."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    tables_url: str = Field(description="Table endpoint, e.g. https://NAME.table.core.windows.net")
    key_vault_urls: tuple[str, ...] = Field(
        min_length=1,
        description="Key Vaults, separated by commas. Add at the end; never remove or reorder one in use.",
    )
    key_vault_verify_domain: bool = Field(
        default=True,
        description="Send tokens only to vaults under the public Key Vault domains. Leave it on in Azure.",
    )
    issuer: str = Field(
        description="Token issuer with {tenant} in place of the tenant, e.g. https://login.microsoftonline.com/{tenant}/v2.0"
    )
    audience: str = Field(description="What a caller's token must name in `aud`")
    tenants: frozenset[Tenant] = Field(min_length=1, description="The tenants that are served, separated by commas")
    login_tenant: Tenant | None = Field(
        default=None,
        description="Tenant of those who log in without naming one; one of the tenants that are served",
    )
    claim_tenant: str = Field(default="tid", description="Claim that holds the tenant")
    claim_roles: str = Field(default="roles", description="Claim that holds the list of roles")
    claim_email: str = Field(default="email", description="Claim that holds a person's email address")
    claim_username: str = Field(
        default="preferred_username",
        description="Claim that holds a person's user name, used when there is no email",
    )
    claim_agent: str = Field(
        default="azp",
        description="Claim that names an agent. Policies match this name: a display name can be chosen by its owner",
    )
    managed_identity_client_id: str | None = Field(
        default=None, description="Client id of the user-assigned identity; empty for the system-assigned one"
    )
    outbound_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Networks whose addresses may be called though they are not public, as CIDRs separated by commas",
    )
    recovery_mode: bool = Field(
        default=False,
        description="After tables were restored: timers do nothing, and tell what they would do, until it is off again",
    )
    outbound_ports: frozenset[Port] = Field(
        default=frozenset({443}),
        min_length=1,
        description="Ports that hosts of vendors and subscribers may be called at, separated by commas",
    )
    applicationinsights_connection_string: str | None = Field(
        default=None, description="Where telemetry goes; empty for nowhere. The variable has its usual name in Azure"
    )

    @field_validator("key_vault_urls", "tenants", "outbound_networks", "outbound_ports", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("issuer")
    @classmethod
    def _names_the_tenant(cls, value: str) -> str:
        if value.count("{tenant}") != 1 or re.search(r"[{}]", value.replace("{tenant}", "")):
            raise ValueError("must contain {tenant} once")
        return value

    @field_validator("login_tenant")
    @classmethod
    def _is_served(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value not in info.data.get("tenants", {value}):
            raise ValueError("must be one of the tenants that are served")
        return value

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from the environment; `SettingsInvalid` names each that is missing or unusable."""
        given = {
            name: environment[variable(name)]
            for name in cls.model_fields
            if environment.get(variable(name), "").strip()
        }
        try:
            return cls.model_validate(given)
        except ValidationError as refused:
            faults = [
                f"{variable(str(fault['loc'][0]))}: {_PLAINER.get(fault['type'], fault['msg'])}"
                for fault in refused.errors(include_input=False, include_url=False, include_context=False)
            ]
            raise SettingsInvalid("Set these before the app can start: " + "; ".join(faults)) from None


def variable(name: str) -> str:
    """Return which variable a setting is read from: `VAULT_` and its name in capitals, but for one that Azure named."""
    return name.upper() if name == "applicationinsights_connection_string" else f"VAULT_{name.upper()}"
