"""Do the workflows run only what was read, with no more permissions than they need?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.templates import INFRA, ROOT
from tests.infra.test_app_settings import least_python

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def steps(text: str) -> list[str]:
    """Return what the workflow uses, but for other workflows of this repository."""
    return [one for one in re.findall(r"\buses: *(.+)$", text, re.MULTILINE) if not one.startswith("./")]


def test_there_are_workflows_for_checks_and_for_deployment() -> None:
    assert [path.stem for path in WORKFLOWS] == ["checks", "deploy"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_hash_and_says_its_version(path: Path) -> None:
    used = steps(path.read_text())
    assert used
    assert [one for one in used if not PINNED.fullmatch(one)] == []


def test_an_action_has_one_version() -> None:
    used = {one for path in WORKFLOWS for one in steps(path.read_text())}
    assert len(used) == len({one.split("@")[0].lower() for one in used})


def test_an_action_that_is_not_pinned_would_be_found() -> None:
    for loose in (
        "actions/checkout@v6",
        "actions/checkout@df4cb1c069e1874edd31b4311f1884172cec0e10",
        "a/b@df4cb1c # v1.0.0",
    ):
        assert not PINNED.fullmatch(loose)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_permissions_are_given_one_by_one(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^permissions:", text, re.MULTILINE)
    given = set(re.findall(r"^ +([a-z-]+): (?:write|read)$", text, re.MULTILINE))
    assert given <= {"contents", "id-token"}
    assert "contents: write" not in text
    assert "-all" not in text


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    text = path.read_text()
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_a_deployment_has_no_secret_and_comes_after_the_checks() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert "secrets." not in text
    assert "client-secret" not in text
    assert "id-token: write" in text
    assert "--federated-credential-provider github" in text
    assert "uses: ./.github/workflows/checks.yml" in text
    assert "needs: checks" in text


def test_a_deployment_takes_over_every_variable_that_the_parameters_name() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    [carried] = re.findall(r'select\(\.key \| test\("([^"]+)"\)\)', text)
    named = re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text())
    assert named
    assert [name for name in named if not re.search(carried, name)] == []


def test_no_input_goes_into_a_script_as_text() -> None:
    for path in WORKFLOWS:
        scripts = re.findall(r"run: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", path.read_text())
        assert scripts
        assert not [one for pair in scripts for one in pair if "${{" in one], path.name


def test_the_checks_run_on_the_least_python_and_on_the_deployed_one() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    assert re.findall(r"python-version: (\S+)", text) == [f'"{least_python()}"']
    assert re.findall(r"python-version-file: (\S+)", text) == ["infra/python-version.txt"]
    assert "run: .ci/run" in text
