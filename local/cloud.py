"""Starts every part of the local cloud in order, and stops what it started."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from local.azurite import start_azurite, tables_url
from local.certificates import CertificateAuthority
from local.child import Child, ChildFailed
from local.identities import TENANTS
from local.identity import AUDIENCE, PLATFORM_TENANT, STORAGE_AUDIENCE, IdentityProvider
from local.key_vault import KeyVault
from local.ports import HOST, Ports
from local.serving import serving
from local.state import exclusive, make_private_folder
from local.vendor import SampleVendor

PROJECT = Path(__file__).resolve().parent.parent
TABLES = ("vault", "leases", "due", "audit", "catalog")
SCHEDULES = {
    "VAULT_SCHEDULE_EXPIRE_LEASES": "0 * * * * *",
    "VAULT_SCHEDULE_CHECK_CREDENTIALS": "0 */5 * * * *",
    "VAULT_SCHEDULE_CHECK_ROTATIONS": "0 0 * * * *",
    "VAULT_SCHEDULE_RECONCILE": "0 */15 * * * *",
    "VAULT_SCHEDULE_DELIVER_EVENTS": "0 * * * * *",
}


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """The parts that are up: where they are, handles to steer them, and the settings that the app gets."""

    ports: Ports
    authority: CertificateAuthority
    identity: IdentityProvider
    key_vault: KeyVault
    vendor: SampleVendor
    children: Sequence[Child]
    environment: Mapping[str, str] = field(repr=False)

    @property
    def functions_url(self) -> str:
        return f"http://{HOST}:{self.ports.functions}"

    @property
    def tables_url(self) -> str:
        return tables_url(self.ports.tables)

    async def until_a_child_ends(self) -> None:
        """Wait; raise `ChildFailed` when a child ends that should not."""
        waits = {asyncio.create_task(child.ended()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        raise waits[done.pop()].failure("ended by itself")


@asynccontextmanager
async def local_cloud(
    *,
    folder: Path | None,
    ports: Ports,
    app: Path | None,
    authority: CertificateAuthority | None = None,
    say: Callable[[str], None] = lambda line: None,
    on_log: Callable[[str], None] | None = None,
) -> AsyncIterator[LocalCloud]:
    """Start the parts, and stop them at the end.

    State is in `folder`, or in memory when that is `None`. The functions host serves the app in the folder
    `app`, and is left out when that is `None`. `say` is told of progress, `on_log` gets what the app logs.
    Raises `PortTaken`, `StateInUse`, `NotInstalled` or `ChildFailed` when a part cannot come up.
    """
    async with AsyncExitStack() as stack:
        if folder:
            stack.enter_context(exclusive(make_private_folder(folder)))
        ports = ports.claimed()
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="local-cloud-")))
        authority = authority or CertificateAuthority(scratch)

        say("Starting the identity provider, Key Vault and the sample vendor")
        identity = await _serve_identity(stack, ports, folder)
        key_vault = await _serve_key_vault(stack, ports, folder, identity, authority)
        vendor = await _serve_vendor(stack, ports)
        say("Starting Tables")
        children = [await _start_tables(stack, ports, folder, identity, authority)]
        environment = _environment(ports, authority, identity)
        if app:
            say("Starting the functions host")
            children.append(await _start_functions_host(stack, ports, app, environment, on_log))
        yield LocalCloud(ports, authority, identity, key_vault, vendor, children, environment)


async def _serve_identity(stack: AsyncExitStack, ports: Ports, folder: Path | None) -> IdentityProvider:
    identity = IdentityProvider(f"http://{HOST}:{ports.identity}", folder)
    await stack.enter_async_context(serving(identity.application(), ports.identity))
    return identity


async def _serve_key_vault(
    stack: AsyncExitStack,
    ports: Ports,
    folder: Path | None,
    identity: IdentityProvider,
    authority: CertificateAuthority,
) -> KeyVault:
    url, sends_to = f"https://{HOST}:{ports.key_vault}", f"{identity.url}/{PLATFORM_TENANT}"
    key_vault = stack.enter_context(closing(KeyVault(url, sends_to, identity.keys.check, folder)))
    tls = authority.server_context()
    await stack.enter_async_context(serving(key_vault.application(), ports.key_vault, tls))
    return key_vault


async def _serve_vendor(stack: AsyncExitStack, ports: Ports) -> SampleVendor:
    vendor = SampleVendor(f"http://{HOST}:{ports.vendor}")
    await stack.enter_async_context(serving(vendor.application(), ports.vendor))
    return vendor


async def _start_tables(
    stack: AsyncExitStack,
    ports: Ports,
    folder: Path | None,
    identity: IdentityProvider,
    authority: CertificateAuthority,
) -> Child:
    rows = make_private_folder(folder / "tables") if folder else None
    azurite = await start_azurite(ports.tables, authority, rows)
    stack.push_async_callback(azurite.stop)
    await _create_tables(ports, authority, identity)
    return azurite


async def _create_tables(ports: Ports, authority: CertificateAuthority, identity: IdentityProvider) -> None:
    headers = {
        "Authorization": f"Bearer {identity.managed_token(STORAGE_AUDIENCE)}",
        "Accept": "application/json;odata=nometadata",
        "x-ms-version": "2020-12-06",
    }
    connector = aiohttp.TCPConnector(ssl=authority.client_context())
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for table in TABLES:
            async with session.post(f"{tables_url(ports.tables)}/Tables", json={"TableName": table}) as answer:
                if answer.status not in (201, 409):
                    raise ChildFailed(f"Azurite answered {answer.status} when the table {table} was to be made")


async def _start_functions_host(
    stack: AsyncExitStack,
    ports: Ports,
    app: Path,
    environment: Mapping[str, str],
    on_log: Callable[[str], None] | None,
) -> Child:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "local.functions_host",
        "--app",
        app,
        "--port",
        str(ports.functions),
    ]
    command.append("--leashed")
    host = await Child.start(
        "The functions host",
        command,
        ready="^Listening on ",
        environment={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        folder=PROJECT,
        on_line=on_log,
    )
    stack.push_async_callback(host.stop)
    return host


def _environment(ports: Ports, authority: CertificateAuthority, identity: IdentityProvider) -> dict[str, str]:
    """Return what the app is started with: the settings of a deployment, and what Azure itself would add."""
    # A proxy of the developer's is not for calls to this machine.
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"]))
    return {
        "VAULT_TABLES_URL": tables_url(ports.tables),
        "VAULT_KEY_VAULT_URLS": f"https://{HOST}:{ports.key_vault}",
        "VAULT_KEY_VAULT_VERIFY_DOMAIN": "false",
        "VAULT_ISSUER": identity.issuer("{tenant}"),
        "VAULT_AUDIENCE": AUDIENCE,
        "VAULT_TENANTS": ",".join(TENANTS),
        "VAULT_LOGIN_TENANT": "contoso",
        "VAULT_OUTBOUND_NETWORKS": "127.0.0.0/8",
        **SCHEDULES,
        "IDENTITY_ENDPOINT": f"{identity.url}/msi/token",
        "IDENTITY_HEADER": identity.managed_identity_header,
        "SSL_CERT_FILE": str(authority.bundle),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }
