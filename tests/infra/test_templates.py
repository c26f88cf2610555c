"""Are the templates well-formed? As much as can be told of that without their compiler, which may not be there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.infra.templates import INFRA, Rule, broken, calls, parsed, templates, without_comments


@pytest.mark.parametrize("path", templates(INFRA), ids=lambda path: path.name)
def test_every_template_parses(path: Path) -> None:
    assert parsed(path)


def descriptions(folder: Path) -> list[str]:
    """Every parameter says whether it must be given, and every output says what it is."""
    wrong = []
    for path in templates(folder):
        for name, one in parsed(path).get("parameters", {}).items():
            begins = "Required. " if one["default"] is None else "Optional. "
            if not _description(one).startswith(begins):
                wrong.append(f"{path.name}: the description of {name} does not begin with {begins!r}")
        for name, one in parsed(path).get("outputs", {}).items():
            if not _description(one):
                wrong.append(f"{path.name}: output {name} has no description")
    return wrong


def _description(declared: dict[str, Any]) -> str:
    return next((one["argument"] for one in declared["decorators"] if one["type"] == "description"), "")


def module_parameters(folder: Path) -> list[str]:
    """Every module is given what it requires, and nothing that it does not know."""
    wrong = []
    for call in calls(folder):
        known = parsed(call.path).get("parameters", {})
        required = {name for name, one in known.items() if one["default"] is None}
        wrong += [f"{call.place} is not given {name}" for name in required - call.params.keys()]
        wrong += [f"{call.place} is given {name}, which it does not know" for name in call.params.keys() - known.keys()]
    return wrong


def module_outputs(folder: Path) -> list[str]:
    """Every output of a module that is used is there."""
    wrong = []
    for path in templates(folder):
        modules = parsed(path).get("modules", {})
        for symbol, output in re.findall(r"\b(\w+)\.outputs\.(\w+)", without_comments(path)):
            target = path.parent / modules[symbol]["detail"]["path"]
            if output not in parsed(target).get("outputs", {}):
                wrong.append(f"{path.name} uses {symbol}.outputs.{output}")
    return wrong


def unused_names(folder: Path) -> list[str]:
    """Every parameter, variable and function of a template is used in it."""
    wrong = []
    for path in templates(folder):
        words = Counter(re.findall(r"\w+", without_comments(path)))
        declared = [parsed(path).get(kind, {}) for kind in ("parameters", "variables", "functions")]
        wrong += [f"{path.name}: {name}" for names in declared for name in names if words[name] < 2]
    return wrong


def unused_modules(folder: Path) -> list[str]:
    """Every template is `main.bicep` or a module of it."""
    used = {call.path.resolve() for call in calls(folder)} | {(folder / "main.bicep").resolve()}
    return [path.name for path in templates(folder) if path.resolve() not in used]


def registry_modules(folder: Path) -> list[str]:
    """Nothing is fetched from a registry when the templates are built."""
    wrong = []
    for path in templates(folder):
        if re.search(r"'(br|ts)[/:]|^(extension|provider) ", without_comments(path), re.MULTILINE):
            wrong.append(path.name)
    return wrong


RULES: tuple[Rule, ...] = (
    descriptions,
    module_parameters,
    module_outputs,
    unused_names,
    unused_modules,
    registry_modules,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_templates_are_well_formed(rule: Rule) -> None:
    assert rule(INFRA) == []


BREAKS = [
    (descriptions, "modules/workbook.bicep", "Required. Region of the workbook.", "Region of the workbook."),
    (descriptions, "modules/alerts.bicep", "Optional. Who is told", "Required. Who is told"),
    (descriptions, "modules/identity.bicep", "@description('The identity\\'s resource id.')", ""),
    (module_parameters, "modules/alerts.bicep", "    healthUrl: healthUrl\n", ""),
    (
        module_parameters,
        "modules/alerts.bicep",
        "    healthUrl: healthUrl\n",
        "    healthUrl: healthUrl\n    more: 1\n",
    ),
    (module_outputs, "modules/identity.bicep", "output principalId ", "output principal "),
    (unused_names, "modules/workbook.bicep", "sourceId: applicationInsightsId", "sourceId: workspaceId"),
    (unused_modules, "modules/alerts.bicep", "'web-test.bicep'", "'workbook.bicep'"),
    (registry_modules, "modules/alerts.bicep", "'web-test.bicep'", "'br/public:avm/res/insights/webtest:0.1.0'"),
]


@pytest.mark.parametrize(("rule", "file", "old", "new"), BREAKS, ids=[f"{one[0].__name__}-{one[3]}" for one in BREAKS])
def test_a_template_that_breaks_a_rule_is_found(rule: Rule, file: str, old: str, new: str, tmp_path: Path) -> None:
    assert rule(broken(tmp_path, file, old, new)) != []
