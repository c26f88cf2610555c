"""What a vendor and those who use its configurations do in a place where an app runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from local.cloud import LocalCloud
from tests.end_to_end.sites import Site, open_site
from tests.vaults import Clock
from tests.vendors import FIELDS, GOOD, URL
from vault_core.configuration import Configuration, Definition
from vault_core.credential import Credential
from vault_core.credential_requests import CreateCredential
from vault_core.probe import open_probe
from vault_core.settings import Settings
from vault_core.validation import Validation
from vault_core.validations import Checked


@asynccontextmanager
async def probing_site(local_parts: LocalCloud) -> AsyncIterator[Site]:
    """A site that calls out for real, as the app does, at the time that it is."""
    settings = Settings.read(local_parts.environment)
    async with open_site(local_parts, open_probe(settings, local_parts.environment)) as opened:
        yield replace(opened, clock=Clock(datetime.now(UTC)))


async def publish(site: Site, url: str = URL, **endpoint: Any) -> Configuration:
    """Publish a configuration of Northwind's to the tenant."""
    about = {"name": "Northwind API", "audience": [site.tenant], "fields": FIELDS}
    wanted = Definition.model_validate(about | {"validation": {"url": url} | endpoint})
    configurations, now = site.workers[0].configurations, site.clock()
    issued = await configurations.create(site.nora, wanted, None, now)
    return await configurations.publish(site.nora, issued.configuration.id, None, None, now)


async def fill(
    site: Site, configuration: Configuration, name: str, worker: int = 0, key: str = GOOD, *, validate: bool = False
) -> Credential:
    """Create a credential of Alice's from it."""
    body = {"name": name, "configuration": {"id": configuration.id}, "fields": {"apiKey": key}}
    wanted, creations = CreateCredential.model_validate(body), site.workers[worker].creations
    return (await creations.create(site.alice, wanted, None, site.clock(), validate=validate)).credential


async def ask(site: Site, name: str, worker: int = 0) -> Checked:
    return await site.workers[worker].validations.validate(site.alice, name, site.clock())


async def known(site: Site, name: str) -> Validation:
    return (await site.workers[1].credentials.read(site.alice, name, site.clock())).credential.validation
