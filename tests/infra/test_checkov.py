"""Does Checkov know of a mistake in the templates or the workflows?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.templates import INFRA, ROOT, broken, resources, templates

CHECKOV = ROOT / ".venv-infra" / "bin" / "checkov"

_REASON = re.compile(r"checkov:skip=\w+: ?(.*)")


def scanned(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what Checkov finds, by its framework. It reads files alone: it asks and tells nobody anything."""
    assert CHECKOV.exists(), "Checkov is not installed: make infra"
    options = "--framework bicep github_actions --output json --skip-download --compact"
    command: list[str | Path] = [CHECKOV, "--directory", folder, *options.split()]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LOG_LEVEL": "ERROR"}
    environment["CKV_SKIP_PACKAGE_UPDATE_CHECK"] = "true"  # it would ask a registry whether there is a newer one
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)  # noqa: S603
    assert done.returncode in (0, 1), done.stderr
    assert "Failed to run check" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    reports = found if isinstance(found, list) else [found]
    return {report["check_type"]: report for report in reports}


def copied(folder: Path, infra: Path) -> Path:
    """Return a folder with the templates and the workflows, and nothing else."""
    shutil.copytree(infra, folder / "scan" / "infra")
    shutil.copytree(ROOT / ".github", folder / "scan" / ".github")
    return folder / "scan"


def failed(report: dict[str, Any]) -> list[str]:
    checks = report["results"]["failed_checks"]
    return [f"{one['check_id']} {one['check_name']}: {one['file_path']} {one['resource']}" for one in checks]


@pytest.mark.slow
def test_checkov_finds_nothing_in_what_it_has_read_wholly(tmp_path: Path) -> None:
    found = scanned(copied(tmp_path, INFRA))
    assert found.keys() == {"bicep", "github_actions"}
    for report in found.values():
        assert report["summary"]["parsing_errors"] == 0, report["results"].get("parsing_errors")
        assert report["summary"]["passed"] > 10
        assert failed(report) == []
    assert found["bicep"]["summary"]["resource_count"] >= len(list(resources(INFRA)))


@pytest.mark.slow
def test_checkov_would_find_a_mistake(tmp_path: Path) -> None:
    bad = broken(tmp_path, "modules/key-vaults.bicep", "enablePurgeProtection: true", "enablePurgeProtection: false")
    found = failed(scanned(copied(tmp_path, bad))["bicep"])
    assert [one for one in found if one.startswith("CKV_AZURE_110 ")]


def test_what_checkov_is_told_to_pass_over_has_a_reason() -> None:
    texts = [*templates(INFRA), *(ROOT / ".github").rglob("*.yml")]
    reasons = [reason for path in texts for reason in _REASON.findall(path.read_text())]
    assert sum(path.read_text().count("checkov:skip") for path in texts) == len(reasons)
    assert [reason for reason in reasons if len(reason.split()) < 5] == []
