"""The people and agents that the local identity provider knows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

TENANTS = ("contoso", "northwind", "fabrikam")


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """A person or an agent of one tenant, and the roles that their tokens carry."""

    name: str
    tenant: str
    kind: Literal["human", "agent"]
    roles: tuple[str, ...]

    @property
    def id(self) -> str:
        """A stable UUID, the same on every machine."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:local-cloud:{self.tenant}:{self.name}"))

    @property
    def email(self) -> str:
        return f"{self.name}@{self.tenant}.example"


_ALL = (
    KnownIdentity("alice", "contoso", "human", ("user",)),
    KnownIdentity("bob", "contoso", "human", ("user",)),
    KnownIdentity("carol", "contoso", "human", ("user",)),
    KnownIdentity("vic", "contoso", "human", ("viewer",)),
    KnownIdentity("mona", "contoso", "human", ("manager",)),
    KnownIdentity("ada", "contoso", "human", ("admin",)),
    KnownIdentity("otto", "contoso", "human", ("auditor",)),
    KnownIdentity("lola", "contoso", "human", ("locker-admin", "user")),
    KnownIdentity("deploy-agent", "contoso", "agent", ("user",)),
    KnownIdentity("ci-runner", "contoso", "agent", ("user",)),
    KnownIdentity("finance-bot", "contoso", "agent", ("user", "finance-bots")),
    KnownIdentity("hr-bot", "contoso", "agent", ("user", "hr-bots")),
    KnownIdentity("northwind-vendor", "northwind", "agent", ("vendor",)),
    KnownIdentity("mallory", "fabrikam", "human", ("admin", "manager", "user")),
)
KNOWN_IDENTITIES = {identity.name: identity for identity in _ALL}
