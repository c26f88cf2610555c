"""Do the templates compile without a warning? Only Bicep itself can tell, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.templates import INFRA

# Where `az bicep install` puts it when it is not on the path.
BICEP = shutil.which("bicep") or shutil.which("bicep", path=str(Path.home() / ".azure" / "bin"))
PARAMETERS = sorted(INFRA.rglob("*.bicepparam"))

pytestmark = pytest.mark.skipif(BICEP is None, reason="the Bicep CLI is not installed: templates are not compiled")


def warnings_of(*command: str | Path) -> str:
    """Run the compiler; return what it complains of."""
    assert BICEP
    given = {"AZURE_ENV_NAME": "test", "AZURE_LOCATION": "westeurope"}
    ran = subprocess.run(  # noqa: S603 - the compiler, on these templates
        [BICEP, *command], capture_output=True, text=True, env={**os.environ, **given}, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stderr.strip()


def test_the_templates_compile_without_a_warning() -> None:
    assert warnings_of("build", "--stdout", INFRA / "main.bicep") == ""


def test_the_linter_finds_nothing() -> None:
    assert warnings_of("lint", INFRA / "main.bicep") == ""


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_the_parameters_compile_without_a_warning(path: Path) -> None:
    assert warnings_of("build-params", "--stdout", path) == ""
