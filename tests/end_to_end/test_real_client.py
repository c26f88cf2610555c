"""A client that was written for a Control Room logs in here, and keeps its credentials here."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from rpa_automationanywhere import AAClient, Filter, FilterOperator, Sort, SortDirection
from rpa_automationanywhere.API.api_endpoints import ApiEndpoints
from rpa_automationanywhere.API.models.vault_models import Attribute, AttributeValue, Credential
from rpa_automationanywhere.API.services.exceptions import (
    A360AuthenticationError,
    A360Error,
    A360ResourceNotFoundError,
    A360ValidationError,
)

from local.cloud import LocalCloud
from tests.end_to_end.real_client import (
    PASSWORD,
    LogIn,
    both,
    create,
    fresh,
    give,
    sap_login,
    secret_of,
    user_id,
    values_of,
    where,
)

pytestmark = pytest.mark.slow


# Logging in


def test_a_client_logs_in_by_user_name_and_password_from_the_environment(alice: AAClient) -> None:
    assert alice.lockers.list_lockers(where(FilterOperator.EQ, "name", fresh("none"))) == []


def test_a_client_logs_in_by_user_name_and_api_key(cloud: LocalCloud, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("A360_USERNAME", "alice")
    environment.setenv("A360_API_KEY", cloud.identity.client_secrets["alice"])
    with AAClient.from_env() as client:
        name = fresh("By key")
        create(client, name)
        assert client.credentials.get_by_name(name) is not None


@pytest.mark.parametrize("who", ["alice", "nobody"])
def test_a_wrong_secret_and_an_unknown_user_are_refused_alike(environment: pytest.MonkeyPatch, who: str) -> None:
    environment.setenv("A360_USERNAME", who)
    environment.setenv("A360_PASSWORD", "wrong")
    with pytest.raises(A360AuthenticationError, match=f"^Invalid credentials for user '{who}'.$"):
        AAClient.from_env()


def test_a_client_whose_token_is_refused_logs_in_again_once(alice: AAClient, monkeypatch: pytest.MonkeyPatch) -> None:
    name, authenticator = fresh("Again"), alice.api_client.authenticator
    create(alice, name)
    logins: list[str] = []
    log_in_again: Callable[[], None] = authenticator.reauthorize

    def counted() -> None:
        logins.append("again")
        log_in_again()

    monkeypatch.setattr(authenticator, "reauthorize", counted)
    good = authenticator.token
    assert good is not None
    authenticator.token = f"{good[:-8]}AAAAAAAA"
    assert alice.credentials.get_by_name(name) is not None
    assert len(logins) == 1
    assert authenticator.token not in (None, f"{good[:-8]}AAAAAAAA")


def test_a_client_whose_secret_is_no_longer_good_either_is_refused(alice: AAClient) -> None:
    authenticator = alice.api_client.authenticator
    authenticator.token, authenticator._password = "no.good.token", "changed meanwhile"
    with pytest.raises(A360AuthenticationError):
        alice.credentials.list_credentials()


# Credentials


def test_a_created_credential_has_its_attributes_and_encrypted_values(alice: AAClient) -> None:
    name = fresh("SAP login")
    created = alice.credentials.create_credential(sap_login(name))
    seen = alice.credentials.get_by_name(name.upper())
    assert seen is not None
    assert (seen.id, seen.name, seen.description) == (created.id, name, "for the nightly run")
    assert (seen.owner_id, seen.version, seen.completed, seen.locker_id) == (user_id("alice"), "0", True, None)
    assert [(one.name, one.masked, one.password_flag) for one in seen.attributes] == [
        ("username", False, False),
        ("password", True, True),
    ]
    assert secret_of(alice, name) == {"username": "sapuser", "password": PASSWORD}


def test_a_second_credential_of_a_name_is_refused(alice: AAClient) -> None:
    name = fresh("Twice")
    create(alice, name)
    with pytest.raises(A360Error, match="status 409"):
        alice.credentials.create_credential(sap_login(name.lower()))


def test_an_unknown_credential_has_no_secret_and_no_page(alice: AAClient) -> None:
    assert alice.credentials.get_by_name(fresh("None")) is None
    assert alice.credentials.get_secret(fresh("None")) is None
    with pytest.raises(A360ResourceNotFoundError):
        alice.api_client.get(ApiEndpoints.v2.credential_by_id(secrets.token_hex(12)))


def test_a_masked_value_is_hidden_in_bulk_and_read_by_its_attribute(alice: AAClient) -> None:
    credential = alice.credentials.create_credential(sap_login(fresh("Masked")))
    username, password = (str(one.id) for one in credential.attributes)
    assert values_of(alice, str(credential.id)) == {username: "sapuser", password: ""}
    assert values_of(alice, str(credential.id), password) == {password: PASSWORD}
    assert values_of(alice, str(credential.id), username) == {username: "sapuser"}


def test_one_value_is_updated_and_the_others_stay(alice: AAClient) -> None:
    name = fresh("Updated")
    create(alice, name)
    for text in ("n3w", "n3wer"):  # the second with the version that the first made
        alice.credentials.update_attribute_value(name, "password", text)
        assert secret_of(alice, name) == {"username": "sapuser", "password": text}


def test_a_value_that_changed_since_it_was_read_is_not_overwritten(alice: AAClient) -> None:
    name = fresh("Stale")
    create(alice, name)
    read = alice.credentials._find_attribute_details(name, "password")
    alice.credentials.update_attribute_value(name, "password", "by another")
    endpoint = ApiEndpoints.v2.credential_attribute_by_id(read["credential_id"], read["attribute_value_id"])
    with pytest.raises(A360Error, match="status 409"):
        alice.api_client.put(endpoint, json={"value": "too late", "version": read["version"]})
    assert secret_of(alice, name)["password"] == "by another"


def test_a_value_encrypted_to_another_key_is_refused(alice: AAClient) -> None:
    name = fresh("Wrong key")
    credential = create(alice, name)
    key = alice.credentials._get_transport_key()
    endpoint = f"{ApiEndpoints.v2.credential_attributes(credential)}?encryptionKey={key[:-40]}"
    with pytest.raises(A360ValidationError, match="The encryption key is incorrect"):
        alice.api_client.post(endpoint, json={"list": [{"credentialAttributeId": "any", "value": "b3BlbiBzZXNhbWU="}]})


def test_a_key_that_was_not_percent_encoded_is_understood(alice: AAClient) -> None:
    credential = alice.credentials.create_credential(sap_login(fresh("Plus")))
    username = str(credential.attributes[0].id)
    key = alice.credentials._get_transport_key()
    row = AttributeValue(credential_attribute_id=username, value="anew")
    payload = alice.credentials._create_encrypted_payload(key, [row])
    endpoint = f"{ApiEndpoints.v2.credential_attributes(str(credential.id))}?encryptionKey={key}"
    alice.api_client.post(endpoint, json=payload)
    assert values_of(alice, str(credential.id), username) == {username: "anew"}


def test_name_and_description_are_updated_and_the_values_stay(alice: AAClient) -> None:
    name = fresh("Before")
    create(alice, name)
    after = alice.credentials.update_credential(name, new_name=f"{name} renamed", new_description="anew")
    assert (after.name, after.description, after.version) == (f"{name} renamed", "anew", "1")
    assert alice.credentials.get_by_name(name) is None
    assert secret_of(alice, f"{name} renamed") == {"username": "sapuser", "password": PASSWORD}


def test_attributes_are_added_and_removed_and_those_that_stay_keep_their_values(alice: AAClient) -> None:
    name = fresh("Redefined")
    create(alice, name)
    seen = alice.credentials.get_by_name(name)
    assert seen is not None
    password = next(one for one in seen.attributes if one.name == "password")
    after = alice.credentials.update_credential(name, attributes=[password, Attribute(name="client")])
    assert [(one.name, one.id == password.id) for one in after.attributes] == [("password", True), ("client", False)]
    assert after.completed is False
    assert secret_of(alice, name) == {"password": PASSWORD, "client": None}
    give(alice, str(after.id), str(after.attributes[1].id), "800")
    assert secret_of(alice, name) == {"password": PASSWORD, "client": "800"}


def test_a_credential_passes_to_another_owner(alice: AAClient, log_in: LogIn) -> None:
    name = fresh("Passed on")
    credential = create(alice, name)
    alice.credentials.set_owner_by_id(credential, user_id("bob"))
    assert alice.credentials.get_by_name(name) is None
    bob = log_in("bob")
    seen = bob.credentials.get_by_name(name)
    assert seen is not None
    assert (seen.owner_id, seen.permissions and seen.permissions.can_transfer_ownership) == (user_id("bob"), True)
    assert secret_of(bob, name)["password"] == PASSWORD


# Lists


@pytest.fixture
def five(alice: AAClient) -> list[Credential]:
    """Five credentials of one family of names, in order of creation."""
    family = secrets.token_hex(4)
    for word in ("delta", "Alpha", "charlie", "bravo", "echo"):
        alice.credentials.create_credential(sap_login(f"{word} {family}"))
    found = alice.credentials.list_credentials(where(FilterOperator.SUBSTRING, "name", family))
    assert len(found) == 5
    return found


def test_a_list_comes_whole_whatever_the_size_of_a_page(alice: AAClient, five: list[Credential]) -> None:
    whole = alice.credentials.list_credentials()
    for size in (1, 2, 3, 1000):
        paged = alice.credentials._get_all(ApiEndpoints.v2.CREDENTIALS_LIST, page_size=size)
        assert [one.id for one in paged] == [one.id for one in whole]
    assert {one.id for one in five} <= {one.id for one in whole}


def test_a_filtered_list_comes_whole_in_small_pages(alice: AAClient, five: list[Credential]) -> None:
    family = where(FilterOperator.SUBSTRING, "name", five[0].name.split()[1])
    paged = alice.credentials._get_all(ApiEndpoints.v2.CREDENTIALS_LIST, filter=family, page_size=2)
    assert [one.id for one in paged] == [one.id for one in five]


def test_a_list_is_sorted_without_regard_to_case(alice: AAClient, five: list[Credential]) -> None:
    family = where(FilterOperator.SUBSTRING, "name", five[0].name.split()[1])
    names = ["Alpha", "bravo", "charlie", "delta", "echo"]
    for direction, expected in ((SortDirection.ASC, names), (SortDirection.DESC, names[::-1])):
        found = alice.credentials.list_credentials(family, [Sort(field="name", direction=direction)])
        assert [one.name.split()[0] for one in found] == expected


def test_filters_are_combined(alice: AAClient, five: list[Credential]) -> None:
    family = where(FilterOperator.SUBSTRING, "name", five[0].name.split()[1])

    def words(*filters: Filter) -> list[str]:
        return [one.name.split()[0] for one in alice.credentials.list_credentials(both(family, *filters))]

    alpha, echo = (where(FilterOperator.SUBSTRING, "name", word) for word in ("ALPHA", "echo"))
    assert words(Filter(operator=FilterOperator.OR, operands=[alpha, echo])) == ["Alpha", "echo"]
    assert words(Filter(operator=FilterOperator.NOT, operands=[alpha]), echo) == ["echo"]
    assert words(alpha, echo) == []
    assert words(where(FilterOperator.EQ, "ownerId", user_id("alice")), alpha) == ["Alpha"]


def test_a_list_is_narrowed_to_what_changed_since_an_instant(alice: AAClient, five: list[Credential]) -> None:
    family = where(FilterOperator.SUBSTRING, "name", five[0].name.split()[1])
    since = alice.credentials.update_credential(five[1].name, new_description="changed last").updated_on
    for operator, expected in (
        (FilterOperator.GE, [five[1].id]),
        (FilterOperator.GT, []),
        (FilterOperator.LT, [one.id for one in five if one is not five[1]]),
    ):
        found = alice.credentials.list_credentials(both(family, where(operator, "updatedOn", str(since))))
        assert [one.id for one in found] == expected


def test_an_unknown_field_is_refused(alice: AAClient) -> None:
    with pytest.raises(A360ValidationError):
        alice.credentials.list_credentials(where(FilterOperator.EQ, "colour", "red"))
