"""Who may import whom, where Azure may appear, and what no module of the vault may do."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOUNS = {
    "admission",
    "agenda",
    "attribute_values",
    "attributes",
    "checks",
    "compromises",
    "configuration",
    "configuration_fields",
    "configuration_removal",
    "configuration_rows",
    "configurations",
    "configured_attributes",
    "contracts",
    "courier",
    "creations",
    "credential",
    "credential_changes",
    "credential_listing",
    "credential_requests",
    "credential_rows",
    "credential_writes",
    "credentials",
    "data_keys",
    "deliveries",
    "endings",
    "exports",
    "field_kinds",
    "field_patterns",
    "grants",
    "imported_credentials",
    "imports",
    "lease",
    "lease_events",
    "lease_rows",
    "leases",
    "locker",
    "locker_rows",
    "lockers",
    "new_values",
    "own_values",
    "paces",
    "pending_values",
    "placement",
    "portable",
    "redefinitions",
    "repeats",
    "resolution",
    "rotation",
    "signing_secrets",
    "subscription",
    "subscriptions",
    "summary",
    "tenants",
    "transport_keys",
    "trials",
    "upgrades",
    "validation",
    "validations",
    "values",
    "vendor_calls",
}
"""The nouns, their rows and rules: they know the stores only as ports."""

LAYERS: list[set[str]] = [
    {"errors", "settings", "durations", "concurrency", "outbound", "telemetry"},
    {"open_telemetry", "azure_monitor", "wire", "names", "cursors", "echoes", "strict_json"},
    {
        "identities",
        "records",
        "credential_types",
        "stores",
        "transport",
        "destinations",
        "probe",
        "vendor_answers",
        "webhooks",
    },
    {"audit", "key_ring", "sealing"},
    {"policies"},
    NOUNS,
    {"upkeep"},
    {"health"},
    {"timed_runs"},
    {"vault"},
    {"api", "timers"},
]
"""From the ground up: a module imports from its own layer and those above it in this list."""

AZURE = {
    "azure.functions": {"function_app", "vault_core.api.edge", "vault_core.timers"},
    "azure.data": {"vault_core.stores.tables"},
    "azure.keyvault": {"vault_core.stores.key_vault"},
    "azure.identity": {"function_app"},
    "azure.monitor": {"vault_core.azure_monitor"},
    "azure.core": {"vault_core.azure_monitor"}
    | {f"vault_core.stores.{one}" for one in ("tables", "key_vault", "outages")},
}
"""Which module may import which of Azure's packages."""


@cache
def parsed(folder: str) -> dict[str, ast.Module]:
    paths = sorted((ROOT / folder).rglob("*.py")) if (ROOT / folder).is_dir() else [ROOT / folder]
    modules = (path for path in paths if "node_modules" not in path.parts)
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path in modules
    }


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        yield from parsed(folder).items()


def imports(tree: ast.Module, *, known: set[str] | None = None) -> set[str]:
    """The modules that a module imports, by full name, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & (known or set())
            found |= submodules or {node.module}
    return found


MODULES = dict(sources("vault_core"))
GRAPH = {
    name: {one for one in imports(tree, known=set(MODULES)) if one.startswith("vault_core")}
    for name, tree in MODULES.items()
}


def layer(module: str) -> int:
    part = module.split(".")[1]
    [found] = [number for number, parts in enumerate(LAYERS) if part in parts]
    return found


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"vault_core"}))
def test_every_module_has_its_layer_and_imports_none_above_it(module: str) -> None:
    above = {other for other in GRAPH[module] if layer(other) > layer(module)}
    assert not above


def test_no_module_imports_itself_by_a_detour() -> None:
    try:
        list(TopologicalSorter(GRAPH).static_order())
    except CycleError as cycle:
        pytest.fail(" → ".join(cycle.args[1]))


def test_only_adapters_translate_and_nobody_but_the_root_chooses_them() -> None:
    adapters = {f"vault_core.stores.{one}" for one in ("memory", "tables", "key_vault", "observed")}
    adapters |= {"vault_core.probe", "vault_core.azure_monitor"}
    users = {name for name, used in GRAPH.items() if used & adapters}
    assert not users


def test_azure_appears_where_it_may_and_nowhere_else() -> None:
    places = {package: set[str]() for package in AZURE}
    for name, tree in sources("vault_core", "function_app.py"):
        for used in imports(tree):
            if used.split(".")[0] == "azure":
                places[".".join(used.split(".")[:2])].add(name)
    for package, users in places.items():
        assert users <= AZURE[package], package


def test_the_local_cloud_knows_nothing_of_the_vault() -> None:
    for name, tree in sources("local"):
        ours = {used for used in imports(tree) if used.split(".")[0] in {"vault_core", "function_app", "tests"}}
        assert not ours, name


def test_the_vault_knows_nothing_of_the_local_cloud_the_tests_or_the_benchmarks() -> None:
    for name, tree in sources("vault_core", "function_app.py"):
        others = {used for used in imports(tree) if used.split(".")[0] in {"local", "tests", "bench"}}
        assert not others, name


def test_the_vault_never_asks_where_it_runs() -> None:
    for name, tree in sources("vault_core"):
        for node in ast.walk(tree):
            if isinstance(node, ast.If | ast.IfExp):
                asked = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
                asked |= {part.attr for part in ast.walk(node.test) if isinstance(part, ast.Attribute)}
                assert not {word for word in asked if word in {"local", "is_local", "testing", "debug"}}, name


def test_no_rule_reads_the_time_by_itself() -> None:
    """Time is an argument; the composition root alone knows a clock."""
    for name, tree in sources("vault_core"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"now", "utcnow", "today"} or _is_our_own_clock(node.func), name


def _is_our_own_clock(called: ast.Attribute) -> bool:
    return not (isinstance(called.value, ast.Name) and called.value.id in {"datetime", "date", "time"})


def test_only_the_composition_root_reads_the_environment() -> None:
    for name, tree in sources("vault_core"):
        words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not words & {"environ", "getenv"}, name


DISTRIBUTIONS = {
    "azure.data": "azure-data-tables",
    "azure.functions": "azure-functions",
    "azure.identity": "azure-identity",
    "azure.keyvault": "azure-keyvault-secrets",
    "azure.monitor": "azure-monitor-opentelemetry",
    "jwt": "pyjwt",
    "typing_extensions": "typing-extensions",
}
COME_WITH_THEM = {"azure.core", "opentelemetry", "pydantic_core", "yarl"}


def test_every_package_that_is_imported_is_named_in_the_requirements() -> None:
    named = (ROOT / "requirements.txt").read_text().lower().replace("_", "-")
    for name, tree in sources("vault_core", "function_app.py"):
        for used in imports(tree):
            parts = used.split(".")
            package = ".".join(parts[:2]) if parts[0] == "azure" else parts[0]
            if parts[0] not in sys.stdlib_module_names | {"vault_core"} and package not in COME_WITH_THEM:
                assert f"\n{DISTRIBUTIONS.get(package, package)}" in named, f"{name} imports {package}"
