"""What operators are told to type, against the templates, the API and the tools that it is about."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from infra import backup
from local.cloud import PROJECT, SCHEDULES
from tests.end_to_end.running_stack import run
from vault_core.api.routes import ROUTES
from vault_core.settings import Settings, variable
from vault_core.stores.key_vault import KeyVaultSecrets
from vault_core.telemetry import METRICS

INFRA = PROJECT / "infra"
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```$", RUNBOOK, re.MULTILINE | re.DOTALL)
COMMANDS = "\n".join(BLOCKS).replace("\\\n", " ")
PARAMETERS = {
    name: given["value"]
    for name, given in json.loads((INFRA / "main.parameters.json").read_text())["parameters"].items()
}
VARIABLES = {re.split(r"[{}=]", value)[1]: name for name, value in PARAMETERS.items()}
OUTPUTS = set(re.findall(r"^output (\w+) ", (INFRA / "main.bicep").read_text(), re.MULTILINE))
OF_AZD = {"AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_LOCATION"}
OF_THE_APP = {*map(variable, Settings.model_fields), *SCHEDULES}


def test_what_is_set_is_a_variable_of_the_templates() -> None:
    named = set(re.findall(r"azd env set (\w+)", RUNBOOK))
    assert named
    assert named <= VARIABLES.keys()


def test_what_is_set_is_of_the_values_that_a_template_allows() -> None:
    allowed = {
        name: set(re.findall(r"'([^']+)'", values))
        for values, name in re.findall(r"@allowed\(\[([^\]]+)\]\)\nparam (\w+)", (INFRA / "main.bicep").read_text())
    }
    given = [(VARIABLES[name], value) for name, value in re.findall(r"azd env set (\w+) (\S+)", COMMANDS)]
    checked = [(name, value) for name, value in given if name in allowed]
    assert {name for name, _ in checked} == {"storageRedundancy", "privateNetworking"}
    assert [(name, value) for name, value in checked if value not in allowed[name]] == []


def test_what_is_read_is_an_output_or_a_variable() -> None:
    named = {*re.findall(r"\$\{?((?:VAULT|AZURE)_\w+)", COMMANDS), *re.findall(r"azd env get-value (\w+)", RUNBOOK)}
    assert "VAULT_URL" in named
    assert named <= OUTPUTS | VARIABLES.keys() | {"AZURE_SUBSCRIPTION_ID"}


def test_every_variable_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:VAULT|AZURE)_[A-Z_]*[A-Z]\b", RUNBOOK)) - {"VAULT_SCHEDULE"}
    assert named <= OUTPUTS | VARIABLES.keys() | OF_THE_APP | OF_AZD


def test_what_production_is_told_to_set_is_what_its_parameters_say() -> None:
    told = re.search(r"says the same as\n\n```sh\n(.*?)```", RUNBOOK, re.DOTALL)
    assert told
    set_here = {VARIABLES[name]: value for name, value in re.findall(r"azd env set (\w+) (\S+)", told[1])}
    written = re.findall(r"^param (\w+) = (.+)$", (INFRA / "prod.bicepparam").read_text(), re.MULTILINE)
    fixed = {name: value.strip("'") for name, value in written if not value.startswith("readEnvironmentVariable")}
    assert set_here.pop("alertEmails")
    assert set_here == {name: value for name, value in fixed.items() if name != "environmentName"}


def severities_of_alerts() -> dict[str, str]:
    """The alerts of the templates; of what follows a name for each Key Vault, only how it begins."""
    template = (INFRA / "modules" / "alerts.bicep").read_text() + (INFRA / "modules" / "web-test.bicep").read_text()
    rules = re.findall(r"^    name: '([a-z-]+)'\n    description: .*\n    severity: (\d)", template, re.MULTILINE)
    deeds = re.findall(r"^    name: '([a-z-]+)'\n    description: .*\n    scope: ", template, re.MULTILINE)
    metrics = re.findall(r"metricAlerts@.*?name: '\$\{namePrefix\}-([a-z-]+).*?severity: (\d)", template, re.DOTALL)
    of_the_activity_log = "4"  # Azure gives every alert on it this severity
    return dict([*rules, *metrics]) | dict.fromkeys(deeds, of_the_activity_log)


def test_every_alert_is_explained_with_its_severity() -> None:
    section = RUNBOOK.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `([a-z-]+)`[^|]*\| (\d) \|", section, re.MULTILINE))
    assert len(told) >= 10
    assert told == severities_of_alerts()


def test_operations_that_are_called_exist() -> None:
    called = set(re.findall(r"\$VAULT_URL/api/v1(/[^?\"\s]*)", COMMANDS))
    called |= {path for _, path in re.findall(r"`(GET|POST) (/[^`?]*)", RUNBOOK)}
    patterns = [re.sub(r"\{\w+\}", "[^/]+", route.path.removeprefix("/api/v1")) for route in ROUTES]
    assert len(called) >= 8
    assert [path for path in sorted(called) if not any(re.fullmatch(pattern, path) for pattern in patterns)] == []


def test_metrics_that_are_named_exist() -> None:
    named = set(re.findall(r"\bvault\.[a-z_]+(?:\.[a-z_]+)?\b", RUNBOOK)) - {"vault.jsonl.gz"}
    assert named
    assert named <= {metric.name for metric in METRICS}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_every_block_is_one_that_a_shell_understands(number: int) -> None:
    assert await run(["bash", "-n", "-c", BLOCKS[number]]) == (0, "", "")


def test_the_backup_takes_the_commands_that_are_shown() -> None:
    shown = re.findall(r"infra/backup\.py (.*)", COMMANDS)
    assert len(shown) >= 4
    for command in shown:
        words = shlex.split(command, comments=True)
        assert backup._parser().parse_args(words).folder.parts[0] == "backups"


async def test_the_prefix_that_is_worked_out_is_that_of_the_tenants_secrets() -> None:
    ways = {line.split("#")[0].strip() for line in COMMANDS.splitlines() if line.strip().startswith("PREFIX=")}
    assert len(ways) == 1
    _, prefix, _ = await run(["bash", "-c", f'TENANT=contoso; {ways.pop()}; printf %s "$PREFIX"'])
    name = KeyVaultSecrets({"kv": None}).new_name("contoso")  # type: ignore[dict-item] # naming asks nobody
    assert name.startswith(f"kv/{prefix}-")


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"(?<![\w/.$-])((?:infra|\.github)/[\w./-]+\w)", RUNBOOK))
    assert named
    assert [name for name in sorted(named) if not Path(PROJECT / name).exists()] == []
