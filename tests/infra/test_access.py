"""Who is let at what, and what keeps everybody else out: what the templates say, against what the code needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.templates import INFRA, ROOT, Resource, Rule, broken, parsed, resources, without_comments

ROLES = {
    # Values are written, read, disabled and deleted; the role sees no keys, no certificates and no permissions.
    ("Key Vault Secrets Officer", "id"): "azure-keyvault-secrets",
    # Rows are written, read and deleted. The tables themselves are made by the template.
    ("Storage Table Data Contributor", "dataStorageId"): "azure-data-tables",
    # The host takes leases on blobs so that timers run once, and fetches the deployed package.
    ("Storage Blob Data Owner", "hostStorageId"): "azure-functions",
    # Telemetry is sent with a token, since local authentication is off.
    ("Monitoring Metrics Publisher", "applicationInsightsId"): "azure-monitor-opentelemetry",
}
"""Every role that the identity of the app has, on what, and the package of the app that needs it."""

SCOPES = {
    "principalId": "identity.outputs.principalId",
    "keyVaultIds": "keyVaults.outputs.ids",
    "dataStorageId": "data.outputs.id",
    "hostStorageId": "host.outputs.id",
    "applicationInsightsId": "monitoring.outputs.applicationInsightsId",
}
"""Who is given the roles, and what they are given on."""

ROLE_IDS = {
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}
"""https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""

NEED_NO_ROLE = {"azure-identity"}  # it only asks for the tokens

GUARDS: dict[str, dict[str, object]] = {
    "Microsoft.KeyVault/vaults": {
        "properties.enableRbacAuthorization": True,
        "properties.accessPolicies": None,
        "properties.enablePurgeProtection": True,
        "properties.enableSoftDelete": True,
        "properties.softDeleteRetentionInDays": 90,
        "properties.enabledForDeployment": False,
        "properties.enabledForDiskEncryption": False,
        "properties.enabledForTemplateDeployment": False,
    },
    "Microsoft.Storage/storageAccounts": {
        "properties.allowSharedKeyAccess": False,
        "properties.allowBlobPublicAccess": False,
        "properties.allowCrossTenantReplication": False,
        "properties.minimumTlsVersion": "TLS1_2",
        "properties.supportsHttpsTrafficOnly": True,
    },
    "Microsoft.OperationalInsights/workspaces": {"properties.features.disableLocalAuth": True},
    "Microsoft.Insights/components": {"properties.DisableLocalAuth": True},
    "Microsoft.Web/sites": {"properties.httpsOnly": True, "identity.type": "UserAssigned"},
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": False},
}
"""What every resource of a type must be set to; None for what must not be set."""


def guards(folder: Path) -> list[str]:
    """Everything is closed that can be closed."""
    there = list(resources(folder))
    wrong = [f"there is no {kind}" for kind in GUARDS if kind not in {one.type for one in there}]
    for one in there:
        for path, wanted in GUARDS.get(one.type, {}).items():
            if one.at(path) != wanted:
                wrong.append(f"{one.place}: {path} is not {wanted}")
    return wrong


def granted_roles(folder: Path) -> list[str]:
    """The roles are those that the code needs, given to the identity of the app."""
    roles = folder / "modules" / "roles.bicep"
    granted = re.findall(r"\{ role: '([^']+)', scope: (\w+) \}", without_comments(roles))
    wrong = [] if sorted(granted) == sorted(ROLES) else [f"granted: {granted}"]
    if without_comments(roles).count("role: ") != len(granted):
        wrong.append("a role is granted in another way")
    ids = parsed(roles)["variables"]["roleIds"]["value"]
    if {name.strip("'"): each for name, each in ids.items()} != ROLE_IDS:
        wrong.append(f"ids of roles: {ids}")
    [call] = re.findall(r"^module roles .*?^\}", (folder / "main.bicep").read_text(), re.MULTILINE | re.DOTALL)
    if dict(re.findall(r"(\w+): (\S+\.\S+)", call)) != SCOPES:
        wrong.append("the roles are given to somebody else, or on something else")
    return wrong


def principals(folder: Path) -> list[str]:
    """Nobody but the identity of the app is given a role: no person, no group, nobody who deploys."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".bicep", ".bicepparam", ".json"}]
    a_role = re.compile(r"Microsoft\.Authorization/roleAssignments(?!/write)")  # an alert asks for who writes one
    assigning = [path.name for path in files if a_role.search(path.read_text())]
    wrong = [] if assigning == ["role-assignment.json"] else [f"roles are assigned in {assigning}"]
    types = {kind for path in files for kind in re.findall(r"principalType\W+(\w+)", path.read_text())}
    wrong += [f"a role for a {kind}" for kind in types - {"ServicePrincipal"}]
    given = re.findall(r"principalId: (\S+)", without_comments(folder / "main.bicep"))
    wrong += [f"main.bicep gives roles to {each}" for each in given if each != "identity.outputs.principalId"]
    return wrong


def vault_audits(folder: Path) -> list[str]:
    """What is done with the vaults is kept, in the table that the alerts ask."""
    audits = [one for one in resources(folder) if one.place.startswith("key-vaults.bicep") and _is_audit(one)]
    wrong = [] if audits else ["the vaults have no audit logs"]
    return wrong + [one.place for one in audits if one.at("properties.logAnalyticsDestinationType") != "Dedicated"]


def _is_audit(one: Resource) -> bool:
    return one.type == "Microsoft.Insights/diagnosticSettings" and "AuditEvent" in str(one.at("properties.logs"))


RULES: tuple[Rule, ...] = (guards, granted_roles, principals, vault_audits)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_only_the_app_is_let_in(rule: Rule) -> None:
    assert rule(INFRA) == []


def test_every_package_that_calls_azure_has_its_role() -> None:
    used = set(re.findall(r"^(azure-[a-z-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert used == set(ROLES.values()) | NEED_NO_ROLE


BREAKS = [
    (guards, "modules/key-vaults.bicep", "enablePurgeProtection: true", "enablePurgeProtection: false"),
    (guards, "modules/key-vaults.bicep", "softDeleteRetentionInDays: 90", "softDeleteRetentionInDays: 7"),
    (guards, "modules/key-vaults.bicep", "enableRbacAuthorization: true", "accessPolicies: []"),
    (guards, "modules/storage.bicep", "allowSharedKeyAccess: false", ""),
    (guards, "modules/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false"),
    (guards, "modules/function-app.bicep", "allow: false", "allow: true"),
    (granted_roles, "modules/roles.bicep", "role: 'Storage Table Data Contributor'", "role: 'Owner'"),
    (granted_roles, "modules/roles.bicep", "scope: dataStorageId }", "scope: resourceGroup().id }"),
    (granted_roles, "modules/roles.bicep", "role: 'Key Vault Secrets Officer'", "role: 'Key Vault Administrator'"),
    (granted_roles, "main.bicep", "dataStorageId: data.outputs.id", "dataStorageId: group.id"),
    (granted_roles, "modules/roles.bicep", "b86a8fe4-44ce", "00482a5a-887f"),
    (principals, "modules/role-assignment.json", '"ServicePrincipal"', '"User"'),
    (principals, "main.bicep", "principalId: identity.outputs.principalId", "principalId: deployer().objectId"),
    (principals, "modules/identity.bicep", "// User", "// Microsoft.Authorization/roleAssignments"),
    (vault_audits, "modules/key-vaults.bicep", "'AuditEvent'", "'Other'"),
    (vault_audits, "modules/key-vaults.bicep", "logAnalyticsDestinationType: 'Dedicated'", ""),
]


@pytest.mark.parametrize(("rule", "file", "old", "new"), BREAKS, ids=[f"{one[0].__name__}-{one[3]}" for one in BREAKS])
def test_a_template_that_lets_others_in_is_found(rule: Rule, file: str, old: str, new: str, tmp_path: Path) -> None:
    assert rule(broken(tmp_path, file, old, new)) != []
