"""Where a credential can be used: the index by which it is found for a product, an environment and a marketplace.

    place:{environment}|{product, or * for all}|{credential}    the configuration, the marketplaces, and who may use it

The rows change in the transaction of the credential, so they are never stale. They tell what rights depend on, so that
what a caller may not use need not be read, however much of it there is.
"""

from __future__ import annotations

from vault_core.credential import Credential, State
from vault_core.identities import IdentityPattern
from vault_core.policies import LeasePolicy
from vault_core.records import Record
from vault_core.stores import Change, Discard, Keys, Put, Row

ANY_PRODUCT = "*"
MAX_POLICY = 4_000  # characters of JSON: a credential has up to 40 places, and a page holds a thousand


class Place(Record):
    """One place of a credential. Without `allowed_identities` the tenant's defaults say who may lease it.

    `policy_too_long`: its own list does not fit here; only the credential tells.
    """

    credential: str
    configuration: str
    marketplaces: tuple[str, ...]
    owner: str
    locker: str | None = None
    allowed_identities: tuple[IdentityPattern, ...] | None = None
    policy_too_long: bool = False


def moved(tenant: str, before: Credential | None, after: Credential) -> tuple[Change, ...]:
    """Return the changes that a change of the credential makes in the index; none as a rule."""
    old, new = _rows(tenant, before) if before else {}, _rows(tenant, after)
    gone = (Discard(tenant, key) for key in old.keys() - new.keys())
    come = (Put(row) for key, row in new.items() if key not in old or old[key].document != row.document)
    return (*gone, *come)


def candidates(tenant: str, environment: str, product: str) -> Keys:
    """Return the span of the index that holds what can be used there for the product."""
    return Keys(tenant, f"place:{environment}|{product}|", f"place:{environment}|{product}|~")


def is_place(key: str) -> bool:
    """Return whether the key is that of a row of the index."""
    return key.startswith("place:")


def _rows(tenant: str, credential: Credential) -> dict[str, Row]:
    """Return the places of the credential; one that is revoked or deleted has none."""
    pinned = credential.configuration
    if pinned is None or credential.deleted_at or credential.newest.state is State.REVOKED:
        return {}
    fits = _length_of_list(credential.policy) <= MAX_POLICY
    about = Place(
        credential=credential.id,
        configuration=pinned.id,
        marketplaces=credential.marketplaces,
        owner=credential.owner_id,
        locker=credential.locker_id,
        allowed_identities=credential.policy.allowed_identities if fits else None,
        policy_too_long=not fits,
    ).document()
    products = (ANY_PRODUCT,) if pinned.products is None else pinned.products
    keys = (f"place:{credential.environment}|{product}|{credential.id}" for product in products)
    return {key: Row(tenant, key, about) for key in keys}


def _length_of_list(policy: LeasePolicy) -> int:
    return len(policy.model_dump_json(include={"allowed_identities"}))
