"""Does registering the vault give it what it needs, and leave alone what somebody chose?

The shell script runs as it is, against an `az` that keeps one registration in a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.registration import CLAIMS, SCOPE, changes
from tests.infra.templates import INFRA

ROLES: list[dict[str, Any]] = json.loads((INFRA / "app-roles.json").read_text())
CLIENT_ID = "7e3c5bd2-6f5e-4d0e-9d2c-0c4f6a1f4b11"
NEW: dict[str, Any] = {
    "id": "object",
    "appId": CLIENT_ID,
    "signInAudience": "AzureADMyOrg",
    "identifierUris": [],
    "appRoles": [],
    "api": {"requestedAccessTokenVersion": None, "oauth2PermissionScopes": [], "preAuthorizedApplications": []},
    "optionalClaims": None,
}

AZ = """#!{python}
import json, sys
from pathlib import Path

here = Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    print(*words, file=calls)
option = dict(zip(words, words[1:]))
file = here / "app.json"
app = json.loads(file.read_text()) if file.exists() else None
CLOUD = {{"microsoftGraphResourceId": "https://graph.example/", "activeDirectory": "https://login.example"}}
match words[:3]:
    case ["ad", "app", "list"]:
        if app and option["--filter"] == f"displayName eq '{{app['displayName']}}'":
            print(app["appId"])
    case ["ad", "app", "create"]:
        app = json.loads((here / "new.json").read_text())
        app |= {{"displayName": option["--display-name"], "signInAudience": option["--sign-in-audience"]}}
        file.write_text(json.dumps(app))
        print(app["appId"])
    case ["ad", "app", "show"]:
        print(app[option["--query"]] if "--query" in option else json.dumps(app))
    case ["ad", "sp", "show"]:
        sys.exit(0 if (here / "principal").exists() else 3)
    case ["ad", "sp", "create"]:
        (here / "principal").touch()
    case ["cloud", "show", _]:
        print(CLOUD[option["--query"].split(".")[1]])
    case ["rest", "--method", "PATCH"]:
        assert option["--url"] == "https://graph.example/v1.0/applications/object"
        file.write_text(json.dumps(app | json.loads(Path(option["--body"][1:]).read_text())))
    case _:
        sys.exit(f"unknown: {{words}}")
"""


@dataclass
class Directory:
    """Entra ID, as the script meets it."""

    folder: Path

    def register(self, *words: str, environment: str = "") -> subprocess.CompletedProcess[str]:
        """Run the script; return how it ended. Without the environment's name, there is an `azd` that knows none."""
        variables = {**os.environ, "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        variables["AZURE_ENV_NAME"] = environment
        return subprocess.run(  # noqa: S603 - the project's own script
            [str(INFRA / "register-app.sh"), *words],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def app(self) -> dict[str, Any]:
        """What is registered."""
        app: dict[str, Any] = json.loads((self.folder / "app.json").read_text())
        return app

    def change(self, **fields: Any) -> None:
        """Do what somebody does in the portal."""
        (self.folder / "app.json").write_text(json.dumps(self.app | fields))

    def writes(self) -> list[str]:
        """Return what was asked of `az` that changes something, and forget it."""
        calls = self.folder / "calls"
        found = [line for line in calls.read_text().splitlines() if " create " in line or line.startswith("rest ")]
        calls.write_text("")
        return found


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    commands = {"az": AZ.format(python=sys.executable), "azd": "#!/bin/sh\necho 'ERROR: no environment'\nexit 1\n"}
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "new.json").write_text(json.dumps(NEW))
    return Directory(tmp_path)


def test_it_has_all_that_the_vault_needs(directory: Directory) -> None:
    ran = directory.register()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"azd env set VAULT_AUDIENCE {CLIENT_ID}" in ran.stdout
    assert "adminconsent" not in ran.stdout
    assert directory.app["displayName"] == "credentials-vault"
    assert directory.app["identifierUris"] == [f"api://{CLIENT_ID}"]
    assert directory.app["appRoles"] == ROLES
    assert directory.app["api"]["requestedAccessTokenVersion"] == 2
    assert directory.app["api"]["oauth2PermissionScopes"] == [SCOPE]
    assert directory.app["optionalClaims"]["accessToken"] == CLAIMS


def test_a_second_run_writes_nothing(directory: Directory) -> None:
    directory.register()
    assert len(directory.writes()) == 3  # the registration, what it has, and its service principal
    assert directory.register().returncode == 0
    assert directory.writes() == []


def test_who_can_sign_in_stays_unless_asked(directory: Directory) -> None:
    directory.register("vault", "AzureADMultipleOrgs")
    for _ in range(2):
        ran = directory.register("vault")
        assert directory.app["signInAudience"] == "AzureADMultipleOrgs"
        assert f"https://login.example/ORGANISATION/adminconsent?client_id={CLIENT_ID}" in ran.stdout
    directory.register("vault", "AzureADMyOrg")
    assert directory.app["signInAudience"] == "AzureADMyOrg"


def test_each_environment_has_its_own_name(directory: Directory) -> None:
    directory.register(environment="prod")
    assert directory.app["displayName"] == "credentials-vault-prod"


def test_the_environment_that_azd_has_chosen_is_the_one(directory: Directory) -> None:
    (directory.folder / "azd").write_text("#!/bin/sh\necho test\n")
    directory.register()
    assert directory.app["displayName"] == "credentials-vault-test"


@pytest.mark.parametrize("words", [["it's"], ["vault", "Everybody"]], ids=["name", "audience"])
def test_what_cannot_be_is_refused_before_anything_is_asked(words: list[str], directory: Directory) -> None:
    assert directory.register(*words).returncode == 2
    assert not (directory.folder / "calls").exists()


def test_what_somebody_added_or_changed_stays(directory: Directory) -> None:
    directory.register()
    mine: dict[str, Any] = {"id": "mine", "value": "mine", "isEnabled": True}
    off = SCOPE | {"isEnabled": False}
    chosen: dict[str, Any] = {
        "identifierUris": ["https://vault.example"],
        "appRoles": [*ROLES[:-1], mine],
        "api": {"oauth2PermissionScopes": [mine, off], "preAuthorizedApplications": [{"appId": "a"}]},
        "optionalClaims": {"idToken": [{"name": "ctry"}], "accessToken": [{"name": "email", "essential": True}]},
    }
    directory.change(**chosen)
    directory.register()
    app = directory.app
    assert app["identifierUris"] == ["https://vault.example", f"api://{CLIENT_ID}"]
    assert app["appRoles"] == [*ROLES[:-1], mine, ROLES[-1]]
    assert app["api"] == {**chosen["api"], "requestedAccessTokenVersion": 2}
    assert app["optionalClaims"]["idToken"] == [{"name": "ctry"}]
    assert app["optionalClaims"]["accessToken"] == [{"name": "email", "essential": True}, *CLAIMS[1:]]


def test_only_what_changes_is_written() -> None:
    whole = NEW | changes(NEW, ROLES, None)
    assert changes(whole, ROLES, None) == {}
    assert changes(whole, ROLES, "AzureADMultipleOrgs") == {"signInAudience": "AzureADMultipleOrgs"}
    assert changes(whole | {"appRoles": ROLES[1:]}, ROLES, None) == {"appRoles": [*ROLES[1:], ROLES[0]]}
