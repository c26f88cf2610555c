"""The composition root: settings → clients → vault → functions. No logic.

The clients are made once per process and open no connection before the first call.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

import azure.functions as func
from azure.identity.aio import ManagedIdentityCredential

from vault_core import telemetry, timers
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.dialect import CONTROL_ROOM
from vault_core.api.control_room.face import ControlRoom
from vault_core.api.control_room.login import ControlRoomAuthenticator, IssuerClient, TokenExchange
from vault_core.api.control_room.routes import CONTROL_ROOM_ROUTES
from vault_core.api.denials import audit_denials
from vault_core.api.edge import Edge, register
from vault_core.api.routes import ROUTES
from vault_core.api.signing_keys import KeyFetcher
from vault_core.probe import open_probe
from vault_core.settings import Settings
from vault_core.stores import Stores
from vault_core.stores.key_vault import open_key_vaults
from vault_core.stores.observed import observed
from vault_core.stores.outages import open_transport
from vault_core.stores.tables import AzureTable, table_client
from vault_core.vault import Vault


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def open_stores(settings: Settings) -> Stores:
    """Return the stores that the settings name, reached with the app's managed identity."""
    identity = ManagedIdentityCredential(client_id=settings.managed_identity_client_id)
    transport = open_transport()

    def table(name: str) -> AzureTable:
        return AzureTable(table_client(settings.tables_url, name, identity, transport))

    stores = Stores(
        vault=table("vault"),
        leases=table("leases"),
        due=table("due"),
        audit=table("audit"),
        catalog=table("catalog"),
        secrets=open_key_vaults(
            settings.key_vault_urls, identity, transport, verify_domain=settings.key_vault_verify_domain
        ),
    )
    return observed(stores) if settings.applicationinsights_connection_string else stores


def start_telemetry(settings: Settings) -> None:
    """Record from now on, if the settings say where to. What does so is imported only then: it takes its time."""
    if settings.applicationinsights_connection_string:
        from azure.identity import ManagedIdentityCredential as BlockingIdentity

        from vault_core.azure_monitor import open_azure_monitor

        identity = BlockingIdentity(client_id=settings.managed_identity_client_id)
        telemetry.use(open_azure_monitor(settings.applicationinsights_connection_string, identity, os.environ))


def build() -> func.FunctionApp:
    """Return the app with every function registered."""
    settings = Settings.read(os.environ)
    start_telemetry(settings)
    probe = open_probe(settings, os.environ)
    vault = Vault(open_stores(settings), settings.tenants, now, probe, recovering=settings.recovery_mode)
    tokens, denials = TokenAuthenticator(settings, KeyFetcher()), audit_denials(vault.audit)
    exchange = TokenExchange(settings, tokens, IssuerClient())
    room = ControlRoom(vault, exchange, tokens)
    functions = func.FunctionApp()
    register(functions, ROUTES, Edge(vault, tokens, now, denials))
    register(functions, CONTROL_ROOM_ROUTES, Edge(room, ControlRoomAuthenticator(tokens), now, denials, CONTROL_ROOM))
    timers.register(functions, vault)
    return functions


# The clients' own log lines name the rows and secrets that they ask for.
logging.getLogger("azure").setLevel(logging.WARNING)

app = build()
