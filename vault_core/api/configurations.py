"""Handlers of vendors' configurations."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from vault_core.api.credential_views import FieldFaultView, faults_view
from vault_core.api.repeated import once
from vault_core.api.routing import Answer, Call
from vault_core.configuration import Configuration, Definition, Published, State
from vault_core.configurations import Issued
from vault_core.credential import Environment
from vault_core.credential_requests import FieldValues, Marketplaces
from vault_core.cursors import Cursor, decoded, encoded
from vault_core.identities import Caller, Role
from vault_core.signing_secrets import SigningSecret
from vault_core.vault import Vault
from vault_core.vendor_answers import Verdict
from vault_core.wire import Instant, RevealedSecret, WireModel


class ConfigurationVersionView(WireModel):
    """One version of a configuration, frozen when it was published."""

    version: int
    definition: Definition
    published_at: Instant


class SigningSecretView(WireModel):
    """That a secret signs, since when, and until when once there is another; never the secret."""

    created_at: Instant
    until: Instant | None = None


class ConfigurationView(WireModel):
    """A configuration. Its draft, its secrets and its whole audience are shown to its vendor alone."""

    id: str
    vendor: str
    name: str
    state: State
    latest: Annotated[ConfigurationVersionView | None, Field(description="The newest published version")] = None
    draft: Definition | None = None
    signing_secrets: tuple[SigningSecretView, ...] | None = None
    created_at: Instant
    updated_at: Instant


class IssuedConfiguration(ConfigurationView):
    """A configuration with a new signing secret, in the only answer that shows it."""

    signing_secret: Annotated[RevealedSecret, Field(description="Verifies the calls to the validation endpoint")]


class ConfigurationList(WireModel):
    """A page of configurations; `next` is the cursor of the next page, absent at the end."""

    items: tuple[ConfigurationView, ...]
    next: str | None = None


class ConfigurationQuery(WireModel):
    """Which page of configurations to list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class ConfigurationVersionList(WireModel):
    """The published versions of a configuration, newest first."""

    items: tuple[ConfigurationVersionView, ...]


class TryConfiguration(WireModel):
    """Values to ask the validation endpoint about; none of them is kept."""

    fields_: Annotated[FieldValues, Field(alias="fields")]
    environment: Environment = "test"
    marketplaces: Marketplaces = ()


class OutcomeView(WireModel):
    """What the endpoint said. `reason` is a short code."""

    status: Verdict
    reason: str
    field_errors: tuple[FieldFaultView, ...]


async def create_configuration(vault: Vault, call: Call[Definition]) -> Answer:
    """Create a configuration as a draft; the answer shows its signing secret, once."""
    issued = await vault.configurations.create(call.caller, call.body, once(call, "create configuration"), call.now)
    location = {"Location": f"/api/v1/configurations/{issued.configuration.id}"}
    return Answer(201, _issued(issued, call.caller), location, issued.configuration.tag)


async def list_configurations(vault: Vault, call: Call[None, ConfigurationQuery]) -> Answer:
    """List the configurations that the tenant made, and those that are published to it."""
    position = decoded(call.query.cursor)
    page = await vault.configurations.page(call.caller, position[1] if position else "", call.query.limit)
    items = tuple(_view(one, call.caller) for one in page.configurations)
    return Answer(200, ConfigurationList(items=items, next=encoded(("", page.after) if page.after else None)))


async def read_configuration(vault: Vault, call: Call) -> Answer:
    """Read a configuration."""
    return _shown(await vault.configurations.read(call.caller, call.path["configuration"], call.now), call)


async def replace_configuration(vault: Vault, call: Call[Definition]) -> Answer:
    """Replace the draft of a configuration; what is published stays as it is."""
    reference = call.path["configuration"]
    return _shown(await vault.configurations.edit(call.caller, reference, call.body, call.if_match, call.now), call)


async def delete_configuration(vault: Vault, call: Call) -> Answer:
    """Delete a configuration on which no credential lives."""
    await vault.configurations.delete(call.caller, call.path["configuration"], call.if_match, call.now)
    return Answer(204)


async def publish_configuration(vault: Vault, call: Call) -> Answer:
    """Publish the draft as a new version, once its endpoint has called a random wrong value invalid."""
    reference = call.path["configuration"]
    repeat = once(call, f"publish {reference}")
    return _shown(await vault.configurations.publish(call.caller, reference, call.if_match, repeat, call.now), call)


async def deprecate_configuration(vault: Vault, call: Call) -> Answer:
    """Deprecate a configuration: nothing new is made from it, what exists works on."""
    reference = call.path["configuration"]
    repeat = once(call, f"deprecate {reference}")
    return _shown(
        await vault.configurations.deprecate(call.caller, reference, repeat, call.now, if_match=call.if_match), call
    )


async def rotate_configuration_secret(vault: Vault, call: Call) -> Answer:
    """Make a new signing secret, shown once; the one before it signs too for 24 hours."""
    reference = call.path["configuration"]
    repeat = once(call, f"rotate-secret {reference}")
    issued = await vault.configurations.rotate_secret(call.caller, reference, repeat, call.now, if_match=call.if_match)
    return Answer(200, _issued(issued, call.caller), etag=issued.configuration.tag)


async def try_configuration(vault: Vault, call: Call[TryConfiguration]) -> Answer:
    """Ask the validation endpoint about given values, without keeping anything."""
    wanted, reference = call.body, call.path["configuration"]
    outcome = await vault.configurations.test(
        call.caller, reference, wanted.fields_, wanted.environment, wanted.marketplaces, call.now
    )
    view = OutcomeView(status=outcome.status, reason=outcome.reason, field_errors=faults_view(outcome.field_errors))
    return Answer(200, view)


async def list_configuration_versions(vault: Vault, call: Call) -> Answer:
    """List the published versions of a configuration."""
    found, versions = await vault.configurations.versions(call.caller, call.path["configuration"], call.now)
    items = tuple(_version(one, found, call.caller) for one in versions)
    return Answer(200, ConfigurationVersionList(items=items))


def _shown(configuration: Configuration, call: Call[Any, Any]) -> Answer:
    return Answer(200, _view(configuration, call.caller), etag=configuration.tag)


def _issued(issued: Issued, caller: Caller) -> IssuedConfiguration:
    return IssuedConfiguration(**_fields(issued.configuration, caller), signing_secret=issued.secret)


def _view(configuration: Configuration, caller: Caller) -> ConfigurationView:
    return ConfigurationView(**_fields(configuration, caller))


def _fields(configuration: Configuration, caller: Caller) -> dict[str, Any]:
    own, latest = _is_own(configuration, caller), configuration.latest
    named = configuration.draft if own and configuration.draft else latest.definition if latest else None
    return {
        "id": configuration.id,
        "vendor": configuration.vendor,
        "name": named.name if named else "",
        "state": configuration.state,
        "latest": _version(latest, configuration, caller) if latest else None,
        "draft": configuration.draft if own else None,
        "signing_secrets": tuple(map(_secret, configuration.signing)) if own else None,
        "created_at": configuration.created_at,
        "updated_at": configuration.updated_at,
    }


def _version(version: Published, configuration: Configuration, caller: Caller) -> ConfigurationVersionView:
    definition = version.definition
    if not _is_own(configuration, caller) and definition.audience != "everyone":
        definition = definition.model_copy(update={"audience": (caller.tenant,)})  # who else is in it is not theirs
    return ConfigurationVersionView(version=version.number, definition=definition, published_at=version.published_at)


def _secret(secret: SigningSecret) -> SigningSecretView:
    return SigningSecretView(created_at=secret.created_at, until=secret.until)


def _is_own(configuration: Configuration, caller: Caller) -> bool:
    return configuration.vendor == caller.tenant and caller.has(Role.VENDOR)
