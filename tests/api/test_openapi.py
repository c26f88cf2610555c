"""The OpenAPI document says all that the route table says, and is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.sample import BY_NAME, ROUTES, Front
from vault_core.api.openapi import document
from vault_core.api.routes import ROUTES as SERVED_ROUTES

DOCUMENT = document(ROUTES)


def operation(name: str) -> dict[str, Any]:
    route = BY_NAME[name]
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def parameters(name: str) -> dict[str, Any]:
    return {parameter["name"]: parameter for parameter in operation(name)["parameters"]}


def statuses(name: str) -> set[int]:
    return {int(status) for status in operation(name)["responses"]}


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_an_openapi_document() -> None:
    assert [str(fault) for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_survives_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == json.loads(json.dumps(document(ROUTES)))


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        part: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_it_has_every_route_under_its_name() -> None:
    named = {found["operationId"] for methods in DOCUMENT["paths"].values() for found in methods.values()}
    assert named == set(BY_NAME)


def test_access_is_told() -> None:
    assert operation("read_audit")["description"] == "Access: role `admin` or `auditor`."
    assert operation("read_health")["security"] == []
    assert operation("read_me")["security"] == [{"bearer": []}]


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("create_jar", {201, 400, 401, 403, 409, 413, 415, 500, 503}),
        ("list_jars", {200, 400, 401, 403, 413, 415, 500, 503}),
        ("read_jar", {200, 304, 400, 401, 403, 404, 413, 415, 500, 503}),
        ("update_jar", {200, 400, 401, 403, 404, 412, 413, 415, 428, 500, 503}),
        ("open_jar", {204, 400, 401, 403, 404, 409, 412, 413, 415, 500, 503}),
        ("read_me", {200, 400, 401, 413, 415, 500, 503}),
        ("read_health", {200, 400, 413, 415, 500, 503}),
    ],
)
def test_every_status_an_operation_can_give_is_documented(name: str, documented: set[int]) -> None:
    assert statuses(name) == documented


def test_a_problem_is_documented_by_its_codes() -> None:
    reference = operation("create_jar")["responses"]["409"]["$ref"]
    response = DOCUMENT["components"]["responses"][reference.rpartition("/")[2]]
    assert response["description"] == (
        "`idempotency-key-reused`: The idempotency key was used for another request; `name-taken`: The name is taken"
    )
    assert list(response["content"]) == ["application/problem+json"]


def test_a_status_that_is_both_answer_and_problem_has_both_bodies() -> None:
    content = operation("read_health")["responses"]["503"]["content"]
    assert set(content) == {"application/json", "application/problem+json"}


def test_a_body_is_documented_with_its_media_types() -> None:
    assert list(operation("create_jar")["requestBody"]["content"]) == ["application/json"]
    assert list(operation("update_jar")["requestBody"]["content"]) == [
        "application/merge-patch+json",
        "application/json",
    ]
    assert "requestBody" not in operation("open_jar")


def test_a_body_is_required_when_one_of_its_fields_is() -> None:
    assert operation("create_jar")["requestBody"]["required"] is True
    assert operation("update_jar")["requestBody"]["required"] is False


def test_a_secret_is_marked_as_one_where_it_is_read() -> None:
    assert DOCUMENT["components"]["schemas"]["NewJar"]["properties"]["value"]["writeOnly"] is True


def test_the_query_is_documented_parameter_by_parameter() -> None:
    found = parameters("list_jars")
    assert set(found) == {"limit", "openedBefore", "metadata"}
    assert found["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
        "title": "Limit",
    }
    assert found["openedBefore"]["schema"]["format"] == "date-time"
    assert found["metadata"]["schema"]["propertyNames"] == {"pattern": "^metadata\\."}
    assert found["metadata"]["description"] == "`metadata.KEY=TEXT`"
    assert "JarFilter" not in DOCUMENT["components"]["schemas"]


def test_headers_are_documented_where_they_mean_something() -> None:
    assert parameters("update_jar")["If-Match"]["required"] is True
    assert parameters("open_jar")["If-Match"]["required"] is False
    assert set(parameters("read_jar")) == {"jar", "If-None-Match"}
    assert set(parameters("create_jar")) == {"Idempotency-Key"}


@pytest.mark.parametrize("name", ["read_jar", "list_jars", "create_jar", "read_health"])
async def test_an_answer_is_as_documented(name: str) -> None:
    body = b'{"name": "plum", "value": "v"}' if name == "create_jar" else b""
    response = await Front().send(name, body=body)
    described = operation(name)["responses"][str(response.status_code)]
    schema = {**described["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
    OAS31Validator(schema).validate(json.loads(response.get_body()))


def test_a_field_that_is_left_out_when_null_is_never_null_in_an_answer() -> None:
    schema = DOCUMENT["components"]["schemas"]["Jar"]
    assert schema["required"] == ["name", "openedAt"]
    assert schema["properties"]["description"] == {"type": "string", "title": "Description"}


async def test_the_document_is_served_to_anyone_and_describes_itself() -> None:
    response = await Front().send("read_openapi", token=None)
    assert response.mimetype == "application/json"
    assert json.loads(response.get_body()) == json.loads(json.dumps(DOCUMENT))


SERVED = document(SERVED_ROUTES)
SCHEMAS = SERVED["components"]["schemas"]


def test_what_is_served_is_described_by_an_openapi_document() -> None:
    assert [str(fault) for fault in OpenAPIV31SpecValidator(SERVED).iter_errors()] == []


@pytest.mark.parametrize(
    ("model", "required", "optional"),
    [
        (
            "LockerView",
            "id name description members consumers credentials createdAt createdBy updatedAt updatedBy",
            "",
        ),
        ("MemberView", "id permissions", ""),
        ("LockerList", "items", "next"),
        ("DefineLocker", "name", "description"),
        ("SetMember", "permissions", ""),
        ("AttributeDefinition", "name", "description userProvided masked passwordFlag"),
        ("AttributeView", "id name description userProvided masked passwordFlag set", ""),
        ("SetOwnValues", "fields", ""),
        ("OwnValuesView", "given", ""),
    ],
)
def test_lockers_and_attributes_are_described(model: str, required: str, optional: str) -> None:
    assert SCHEMAS[model]["properties"].keys() == {*required.split(), *optional.split()}
    assert set(SCHEMAS[model].get("required", ())) == set(required.split())


def test_what_lockers_and_attributes_add_to_credentials_is_described() -> None:
    assert "attributes" in SCHEMAS["CreateCredential"]["properties"]
    assert "name" in SCHEMAS["UpdateCredential"]["properties"]
    assert {"lockerId", "attributes"} <= SCHEMAS["CredentialView"]["properties"].keys()
    listing = SERVED["paths"]["/api/v1/credentials"]["get"]["parameters"]
    assert "locker" in {parameter["name"] for parameter in listing}


def test_the_bounds_of_lockers_and_attributes_are_described() -> None:
    assert SCHEMAS["DefineLocker"]["properties"]["name"]["maxLength"] == 50
    assert SCHEMAS["DefineLocker"]["properties"]["description"]["maxLength"] == 255
    assert SCHEMAS["AttributeDefinition"]["properties"]["name"]["maxLength"] == 50
    assert SCHEMAS["SetMember"]["properties"]["permissions"]["items"] == {"$ref": "#/components/schemas/Permission"}
    assert SCHEMAS["Permission"]["enum"] == ["own", "manage", "participate"]


@pytest.mark.parametrize(
    ("method", "path", "codes"),
    [
        ("put", "/lockers/{locker}", {"name-taken", "credential-changed"}),
        ("put", "/lockers/{locker}/members/{member}", {"last-owner", "locker-full", "credential-changed"}),
        ("put", "/lockers/{locker}/consumers/{role}", {"locker-full", "credential-changed"}),
        ("put", "/lockers/{locker}/credentials/{credential}", {"credential-in-locker", "credential-changed"}),
        ("put", "/credentials/{credential}/owner/{owner}", {"not-a-member", "credential-changed"}),
    ],
)
def test_each_conflict_with_a_locker_is_described(method: str, path: str, codes: set[str]) -> None:
    conflict = SERVED["paths"][f"/api/v1{path}"][method]["responses"]["409"]["$ref"]
    assert set(conflict.rpartition("/")[2].split(".")) == codes


@pytest.mark.parametrize(
    ("model", "required", "optional"),
    [
        ("ConfigurationView", "id vendor name state createdAt updatedAt", "latest draft signingSecrets"),
        ("ConfigurationVersionView", "version definition publishedAt", ""),
        ("SigningSecretView", "createdAt", "until"),
        ("OutcomeView", "status reason fieldErrors", ""),
        ("TryConfiguration", "fields", "environment marketplaces"),
        ("UpgradeCredential", "", "version fields"),
        ("CheckedView", "check validation", ""),
        ("CheckView", "at version trigger by status reason fieldErrors", ""),
        ("SummaryView", "total status validation type rotationDue", ""),
        ("CreateLease", "", "credential product environment marketplace configuration owner ttl purpose"),
        ("PinnedConfigurationView", "id version vendor", ""),
    ],
)
def test_configurations_and_checks_are_described(model: str, required: str, optional: str) -> None:
    assert SCHEMAS[model]["properties"].keys() == {*required.split(), *optional.split()}
    assert set(SCHEMAS[model].get("required", ())) == set(required.split())


def schemas_within(part: object) -> set[str]:
    """The names of the schemas that a part of the document refers to, at whatever depth."""
    found: set[str] = set()
    pending = [name.rpartition("/")[2] for name in references(part)]
    while pending:
        name = pending.pop()
        if name not in found and name in SCHEMAS:
            found.add(name)
            pending += [each.rpartition("/")[2] for each in references(SCHEMAS[name])]
    return found


def answered_with(described: Any, secret: str) -> bool:
    """Whether one of the successful answers of the operation can hold a field of this name."""
    answers = [answer for status, answer in described["responses"].items() if status < "300"]
    return any(secret in SCHEMAS[name].get("properties", {}) for name in schemas_within(answers))


def test_no_answer_holds_a_value_or_a_signing_secret_but_the_one_that_is_for_it() -> None:
    operations = [described for methods in SERVED["paths"].values() for described in methods.values()]
    assert {one["operationId"] for one in operations if answered_with(one, "value")} == {"create_lease"}
    assert {one["operationId"] for one in operations if answered_with(one, "signingSecret")} == {
        "create_configuration",
        "rotate_configuration_secret",
        "create_subscription",
        "rotate_subscription_secret",
    }


def test_what_a_credential_is_wanted_for_is_described() -> None:
    selector = SERVED["paths"]["/api/v1/credentials/resolve"]["get"]["parameters"]
    assert {one["name"]: one["required"] for one in selector} == {
        "product": True,
        "environment": True,
        "marketplace": False,
        "configuration": False,
        "owner": False,
    }


def test_what_asks_a_vendor_or_a_subscriber_says_when_it_may_be_asked_again() -> None:
    paced = {
        described["operationId"]: described["responses"]["429"]["$ref"].rpartition("/")[2]
        for methods in SERVED["paths"].values()
        for described in methods.values()
        if "429" in described["responses"]
    }
    assert paced == dict.fromkeys(
        [
            "create_credential",
            "rotate_credential",
            "upgrade_credential",
            "validate_credential",
            "publish_configuration",
            "try_configuration",
            "try_subscription",
        ],
        "too-soon",
    )
    assert "Retry-After" in SERVED["components"]["responses"]["too-soon"]["headers"]


@pytest.mark.parametrize(
    ("method", "path", "codes"),
    [
        ("get", "/credentials/resolve", {"credential-ambiguous"}),
        ("delete", "/configurations/{configuration}", {"configuration-in-use"}),
        (
            "post",
            "/configurations/{configuration}/publish",
            {"configuration-not-usable", "validation-endpoint-unfit", "idempotency-key-reused"},
        ),
        ("post", "/configurations/{configuration}/deprecate", {"configuration-not-usable", "idempotency-key-reused"}),
    ],
)
def test_each_conflict_with_a_configuration_is_described(method: str, path: str, codes: set[str]) -> None:
    conflict = SERVED["paths"][f"/api/v1{path}"][method]["responses"]["409"]["$ref"]
    assert set(conflict.rpartition("/")[2].split(".")) == codes
