"""Is what the templates set what the app reads, and the other way round?"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import azure.functions as func
import pytest

from tests.infra.templates import INFRA, ROOT, Rule, broken, calls, entries, parsed, templates
from tests.vaults import World
from vault_core import timers
from vault_core.settings import Settings, variable
from vault_core.stores import Stores

OF_THE_HOST = {
    # Where the functions host keeps the locks of timers and its keys, and as whom it goes there.
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    # As whom the functions host sends its logs; the app itself uses its identity.
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}
"""The app settings that the functions host reads, and the vault does not."""

SETTING_PARTS = ("variables", "resources", "modules")  # outputs are names for people
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|AzureWebJobs\w+")


def timer_schedules() -> set[str]:
    """Return which settings the timers of the app are scheduled by."""
    app = func.FunctionApp()
    timers.register(app, World().vault)
    triggers = [trigger.get_dict_repr() for each in app.get_functions() if (trigger := each.get_trigger())]
    return {str(trigger["schedule"]).strip("%") for trigger in triggers}


def app_settings(folder: Path) -> list[str]:
    """Every setting that is read is set, and none is set that nobody reads."""
    read = {variable(name) for name in Settings.model_fields} | timer_schedules() | OF_THE_HOST
    data = [parsed(path).get(kind, {}) for path in templates(folder) for kind in SETTING_PARTS]
    written = {name for name, _ in entries(data) if _SETTING.fullmatch(name)}
    wrong = [f"{name} is read, and no template sets it" for name in sorted(read - written)]
    return wrong + [f"{name} is set, and nobody reads it" for name in sorted(written - read)]


def tables(folder: Path) -> list[str]:
    """The tables that are made are those that the app opens."""
    opened = set(re.findall(r'\btable\("(\w+)"\)', (ROOT / "function_app.py").read_text()))
    assert opened == {field.name for field in dataclasses.fields(Stores)} - {"secrets"}
    [data] = [call for call in calls(folder) if call.place == "main.bicep: data"]
    given = set(data.params["tables"])
    return [] if given == opened else [f"made: {sorted(given)}, opened: {sorted(opened)}"]


def parameter_files(folder: Path) -> list[str]:
    """Every file of parameters gives the parameters that there are, and all that are required."""
    known = parsed(folder / "main.bicep")["parameters"]
    required = {name for name, one in known.items() if one["default"] is None}
    wrong = []
    for path, given in _given(folder).items():
        wrong += [f"{path} gives {name}, which main.bicep does not know" for name in sorted(given - known.keys())]
        wrong += [f"{path} does not give {name}" for name in sorted(required - given)]
    return wrong


def _given(folder: Path) -> dict[str, set[str]]:
    # The parser reads no files of parameters; their form is as simple as this.
    given = {
        path.name: set(re.findall(r"^param (\w+) = ", path.read_text(), re.MULTILINE))
        for path in folder.rglob("*.bicepparam")
    }
    assert {name.removesuffix(".bicepparam") for name in given} == {"dev", "test", "prod"}
    for_azd = json.loads((folder / "main.parameters.json").read_text())
    return given | {"main.parameters.json": set(for_azd["parameters"])}


def restored_choices(folder: Path) -> list[str]:
    """Every variable of azd that sets a parameter is an output of that parameter: so a refresh brings it back."""
    outputs = parsed(folder / "main.bicep")["outputs"]
    restored = {name: one["value"] for name, one in outputs.items()}
    given = json.loads((folder / "main.parameters.json").read_text())["parameters"]
    chosen = {re.split(r"[{}=]", one["value"])[1]: name for name, one in given.items()}
    del chosen["AZURE_ENV_NAME"]  # whoever refreshes an environment names it
    return [f"{name} is not brought back" for name, parameter in chosen.items() if restored.get(name) != parameter]


RULES: tuple[Rule, ...] = (app_settings, tables, parameter_files, restored_choices)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_deployed_is_what_the_app_needs(rule: Rule) -> None:
    assert rule(INFRA) == []


BREAKS = [
    (app_settings, "main.bicep", "VAULT_AUDIENCE:", "VAULT_AUDIENCES:"),
    (app_settings, "main.bicep", "VAULT_SCHEDULE_RECONCILE:", "VAULT_SCHEDULE_REPAIR:"),
    (app_settings, "modules/function-app.bicep", "AzureWebJobsStorage__clientId", "AzureWebJobsStorage"),
    (tables, "main.bicep", "'catalog'", "'katalog'"),
    (parameter_files, "main.bicep", "param environmentName string", "param environment string"),
    (parameter_files, "dev.bicepparam", "param environmentName = ", "param environmentTitle = "),
    (restored_choices, "main.bicep", "output VAULT_KEY_VAULT_COUNT int = keyVaultCount", ""),
    (restored_choices, "main.bicep", "output VAULT_TENANTS string = tenants", "output VAULT_TENANTS string = issuer"),
    (restored_choices, "main.parameters.json", "${VAULT_AUDIENCE}", "${VAULT_AUDIENCES}"),
]


@pytest.mark.parametrize(("rule", "file", "old", "new"), BREAKS, ids=[f"{one[0].__name__}-{one[3]}" for one in BREAKS])
def test_a_template_that_sets_something_else_is_found(
    rule: Rule, file: str, old: str, new: str, tmp_path: Path
) -> None:
    assert rule(broken(tmp_path, file, old, new)) != []


def least_python() -> str:
    """Return the least Python that the project supports."""
    [least] = re.findall(r'^requires-python = ">=(3\.\d+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    return str(least)


def test_the_python_of_the_deployed_app_is_written_in_one_place() -> None:
    deployed = (INFRA / "python-version.txt").read_text().strip()
    assert re.fullmatch(r"3\.\d+", deployed)
    texts = [path for path in INFRA.rglob("*") if path.is_file() and path.name != "python-version.txt"]
    texts += [*(ROOT / ".github").rglob("*.yml"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    texts += [ROOT / name for name in ("azure.yaml", "Makefile", ".ci/run")]
    named = {
        (path.name, version)
        for path in texts
        for version in re.findall(r"(?i)python\W*(?:-?version\W+)?(3\.\d+)\b", path.read_text())
    }
    assert {each for each in named if each[1] != least_python()} == set()


def test_the_template_reads_the_version_of_python_from_there() -> None:
    text = (INFRA / "modules" / "function-app.bicep").read_text()
    assert "var pythonVersion = trim(loadTextContent('../python-version.txt'))" in text
    assert "version: pythonVersion" in text
