"""The six types of credential, one module each, and the registry of them.

A type knows its fields, accepts or refuses a value, works out the details that may be shown without a lease,
gives the display form, and says what may replace what. It never touches a store and never reads a clock.
"""

from __future__ import annotations

from vault_core.credential_types import (
    api_key,
    database_url,
    generic_secret,
    oauth_token,
    ssh_key,
    tls_certificate,
)
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields

__all__ = ["TYPES", "Accepted", "CredentialType", "Details", "Field", "Fields"]

TYPES: dict[str, CredentialType] = {
    kind.name: kind
    for kind in (
        api_key.TYPE,
        oauth_token.TYPE,
        ssh_key.TYPE,
        tls_certificate.TYPE,
        database_url.TYPE,
        generic_secret.TYPE,
    )
}
