"""What programs do with a client that was written for a Control Room."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from rpa_automationanywhere import AAClient, Filter, FilterOperator
from rpa_automationanywhere.API.models.vault_models import Attribute, AttributeValue, Credential

from local.identities import KNOWN_IDENTITIES

LogIn = Callable[[str], AAClient]
PASSWORD = 's3cr3t "pä" \\/+&=%41'


def fresh(word: str) -> str:
    """A name that no other test has taken."""
    return f"{word} {secrets.token_hex(4)}"


def user_id(who: str) -> str:
    return KNOWN_IDENTITIES[who].id


def sap_login(name: str) -> Credential:
    return Credential(
        name=name,
        description="for the nightly run",
        attributes=[
            Attribute(name="username", value="sapuser"),
            Attribute(name="password", value=PASSWORD, masked=True, password_flag=True),
        ],
    )


def create(client: AAClient, name: str) -> str:
    """Create a credential with two values; return its id."""
    created = client.credentials.create_credential(sap_login(name))
    assert created.id
    return created.id


def values_of(client: AAClient, credential: str, attribute: str | None = None) -> dict[str, str]:
    """What the client reads, by the attributes' ids: all values at once, or that of one attribute."""
    rows = client.credentials._get_attribute_values(credential, attribute)
    return {row["credentialAttributeId"]: row["value"] for row in rows}


def secret_of(client: AAClient, name: str) -> dict[str, str]:
    secret = client.credentials.get_secret(name)
    assert secret is not None
    return dict(secret)


def give(client: AAClient, credential: str, attribute: str, value: str) -> None:
    client.credentials.add_attribute_values(
        credential, [AttributeValue(credential_attribute_id=attribute, value=value)]
    )


def where(operator: FilterOperator, field: str, value: str) -> Filter:
    return Filter(operator=operator, field=field, value=value)


def both(*operands: Filter) -> Filter:
    return Filter(operator=FilterOperator.AND, operands=list(operands))
