"""The login by user name: what is asked of the identity provider, what comes of its answers, and what never shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.api.test_authentication import AGENT, AUDIENCE, GOOD, KEYS, NOW, PERSON, SETTINGS, KeyServer, sign, token
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.login import (
    ENDPOINT_FRESH_FOR,
    ControlRoomAuthenticator,
    LoginAnswer,
    LoginRequest,
    TokenExchange,
)
from vault_core.errors import InvalidInput, Unauthenticated, Unavailable, VaultError
from vault_core.settings import Settings, SettingsInvalid
from vault_core.wire import invalid_input

CANARY = "canary-of-a-client-secret"
ISSUER = "https://login.example/contoso/v2.0"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
ENDPOINT = "https://login.example/contoso/token"
FABRIKAM = PERSON | {"tid": "fabrikam", "iss": "https://login.example/fabrikam/v2.0"}
FABRIKAM_TOKEN = sign({"alg": "RS256", "kid": "fabrikam-rsa"}, FABRIKAM, KEYS["fabrikam-rsa"])

ONE_TENANT = SETTINGS.model_copy(update={"tenants": frozenset({"contoso"})})
WITH_DEFAULT = SETTINGS.model_copy(update={"login_tenant": "contoso"})


def error(code: str) -> dict[str, str]:
    return {"error": code, "error_description": f"refused {CANARY}"}


class Provider:
    """The issuers' documents, and one answer for every form; remembers what was asked."""

    def __init__(self, answer: Any = None, status: int = 200) -> None:
        self.keys = KeyServer()
        for tenant in ("contoso", "fabrikam"):
            where = f"https://login.example/{tenant}"
            document = self.keys.documents[f"{where}/v2.0/.well-known/openid-configuration"]
            document["token_endpoint"] = f"{where}/token"
        self.status = status
        self.answer: Any = {"access_token": GOOD, "token_type": "Bearer"} if answer is None else answer
        self.down = False
        self.sent: list[tuple[str, Mapping[str, str]]] = []

    @property
    def discoveries(self) -> int:
        return self.keys.fetched.count(DISCOVERY)

    async def __call__(self, url: str) -> bytes:
        return await self.keys.fetch(url)

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        self.sent.append((url, form))
        if self.down:
            raise Unavailable("down")
        return self.status, self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()

    def exchange(self, settings: Settings = WITH_DEFAULT) -> TokenExchange:
        # Keys are fetched apart, so that only what the exchange asks for is counted.
        return TokenExchange(settings, TokenAuthenticator(settings, KeyServer().fetch), self)


def request(username: str = "alice", secret: str = CANARY) -> LoginRequest:
    return LoginRequest(username=username, password=SecretStr(secret))


async def refused(provider: Provider, username: str = "alice", settings: Settings = WITH_DEFAULT) -> VaultError:
    with pytest.raises(VaultError) as failed:
        await provider.exchange(settings).log_in(request(username), NOW)
    return failed.value


def tells_nothing(log: pytest.LogCaptureFixture) -> bool:
    """Return whether the log holds neither the secret nor a token."""
    return not any(hidden in log.text for hidden in (CANARY, GOOD, FABRIKAM_TOKEN))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged, at any level, which must tell nothing."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert tells_nothing(caplog)


class TestTheGrant:
    async def test_sends_id_and_secret_as_a_form_to_the_token_endpoint_of_the_tenant(self) -> None:
        provider = Provider()
        await provider.exchange().log_in(request(), NOW)
        form = {
            "grant_type": "client_credentials",
            "client_id": "alice",
            "client_secret": CANARY,
            "scope": f"{AUDIENCE}/.default",
        }
        assert provider.sent == [(ENDPOINT, form)]

    async def test_takes_an_api_key_like_a_password(self) -> None:
        provider = Provider()
        await provider.exchange().log_in(LoginRequest(username="alice", api_key=SecretStr("the key")), NOW)
        assert provider.sent[0][1]["client_secret"] == "the key"

    async def test_asks_for_the_endpoint_once_a_day(self) -> None:
        provider = Provider()
        exchange = provider.exchange()
        for _ in range(3):
            await exchange.log_in(request(), NOW)
        assert provider.discoveries == 1
        with pytest.raises(Unavailable):  # by then the token has expired
            await exchange.log_in(request(), NOW + ENDPOINT_FRESH_FOR)
        assert provider.discoveries == 2

    async def test_asks_for_the_endpoint_again_after_a_failure(self) -> None:
        provider = Provider()
        document = provider.keys.documents.pop(DISCOVERY)
        exchange = provider.exchange()
        with pytest.raises(Unavailable):
            await exchange.log_in(request(), NOW)
        provider.keys.documents[DISCOVERY] = document
        assert (await exchange.log_in(request(), NOW)).user.domain == "contoso"

    @pytest.mark.parametrize(
        "endpoint",
        [
            "https://evil.example/contoso/token",
            "https://login.example.evil.example/token",
            "https://login.example:8443/contoso/token",
            "https://login.example@evil.example/token",
            "http://login.example/contoso/token",
            "//login.example/token",
            "/contoso/token",
            "https://[evil",
            "",
            7,
            None,
        ],
        ids=repr,
    )
    async def test_sends_no_secret_to_another_origin(self, endpoint: object, logged: pytest.LogCaptureFixture) -> None:
        provider = Provider()
        provider.keys.documents[DISCOVERY]["token_endpoint"] = endpoint
        assert isinstance(await refused(provider), Unavailable)
        assert provider.sent == []

    @pytest.mark.parametrize("lie", [{"issuer": "https://login.example/fabrikam/v2.0"}, {"issuer": None}], ids=str)
    async def test_sends_no_secret_where_the_document_of_another_issuer_says(self, lie: dict[str, Any]) -> None:
        provider = Provider()
        provider.keys.documents[DISCOVERY] |= lie
        assert isinstance(await refused(provider), Unavailable)
        assert provider.sent == []


class TestTheTenant:
    @pytest.mark.parametrize("settings", [SETTINGS, WITH_DEFAULT, ONE_TENANT], ids=["several", "default", "one"])
    async def test_is_the_one_that_is_named(self, settings: Settings) -> None:
        provider = Provider()
        await provider.exchange(settings).log_in(request("contoso\\alice"), NOW)
        assert [(url, form["client_id"]) for url, form in provider.sent] == [(ENDPOINT, "alice")]

    async def test_named_comes_before_the_default(self) -> None:
        provider = Provider({"access_token": FABRIKAM_TOKEN})
        answer = await provider.exchange().log_in(request("fabrikam\\alice"), NOW)
        assert answer.user.domain == "fabrikam"
        assert provider.sent[0][0] == "https://login.example/fabrikam/token"

    @pytest.mark.parametrize("settings", [WITH_DEFAULT, ONE_TENANT], ids=["default", "only one"])
    async def test_is_supposed_when_none_is_named(self, settings: Settings) -> None:
        provider = Provider()
        await provider.exchange(settings).log_in(request("alice"), NOW)
        assert provider.sent[0][0] == ENDPOINT

    async def test_must_be_named_when_none_can_be_supposed(self) -> None:
        provider = Provider()
        refusal = await refused(provider, "alice", SETTINGS)
        assert isinstance(refusal, InvalidInput)
        assert "tenant\\username" in refusal.detail
        assert provider.sent == []

    @pytest.mark.parametrize("username", ["adatum\\alice", "\\alice", "contoso\\", "Contoso\\alice", "\\"])
    async def test_that_is_unknown_gets_the_answer_of_a_bad_login(self, username: str) -> None:
        provider = Provider()
        unknown = await refused(provider, username)
        assert (provider.sent, provider.keys.fetched) == ([], [])
        bad = await refused(Provider(error("invalid_client"), status=401))
        assert (type(unknown), unknown.detail) == (type(bad), bad.detail)

    async def test_of_the_token_must_be_that_of_the_login(self, logged: pytest.LogCaptureFixture) -> None:
        refusal = await refused(Provider({"access_token": FABRIKAM_TOKEN}), "contoso\\alice")
        assert isinstance(refusal, Unavailable)
        assert "the token that it gave is of another tenant" in logged.text


BAD_LOGINS: dict[str, tuple[int, Any]] = {
    "401 invalid_client": (401, error("invalid_client")),
    "401 of any kind": (401, b"<html>"),
    "400 invalid_client": (400, error("invalid_client")),
    "400 unauthorized_client": (400, error("unauthorized_client")),
}
OUTAGES: dict[str, tuple[int, Any]] = {
    "400 invalid_scope": (400, error("invalid_scope")),
    "400 not JSON": (400, b"bad request"),
    "400 a list for error": (400, {"error": ["invalid_client"]}),
    "403": (403, error("invalid_client")),
    "429": (429, error("temporarily_unavailable")),
    "500": (500, b"oops"),
    "302": (302, b""),
    "201 with a token": (201, {"access_token": GOOD}),
    "no JSON": (200, b"access_token=" + GOOD.encode()),
    "no object": (200, [GOOD]),
    "too deep": (200, b"[" * 100_000),
    "no token": (200, {"token_type": "Bearer"}),
    "a number for token": (200, {"access_token": 7}),
    "an opaque token": (200, {"access_token": "opaque"}),
    "an expired token": (200, {"access_token": token(exp=1)}),
    "a token for another app": (200, {"access_token": token(aud="api://other")}),
    "a forged token": (
        200,
        {"access_token": sign({"alg": "RS256", "kid": "contoso-rsa"}, PERSON, KEYS["fabrikam-rsa"])},
    ),
    "a token that is too long": (200, {"access_token": token(padding="x" * 20_000)}),
}


class TestARefusal:
    @pytest.mark.parametrize("case", BAD_LOGINS)
    async def test_of_the_client_is_a_bad_login(self, case: str, logged: pytest.LogCaptureFixture) -> None:
        status, answer = BAD_LOGINS[case]
        assert isinstance(await refused(Provider(answer, status)), Unauthenticated)

    async def test_of_the_client_is_told_alike_whatever_its_reason(self) -> None:
        told = {(await refused(Provider(answer, status))).detail for status, answer in BAD_LOGINS.values()}
        assert len(told) == 1

    @pytest.mark.parametrize("case", OUTAGES)
    async def test_of_any_other_kind_is_an_outage(self, case: str, logged: pytest.LogCaptureFixture) -> None:
        status, answer = OUTAGES[case]
        refusal = await refused(Provider(answer, status))
        assert isinstance(refusal, Unavailable)
        assert refusal.__cause__ is None

    @pytest.mark.parametrize("case", [*BAD_LOGINS, *OUTAGES])
    async def test_quotes_neither_secret_nor_token_nor_the_provider(self, case: str) -> None:
        status, answer = (BAD_LOGINS | OUTAGES)[case]
        failure: BaseException | None = await refused(Provider(answer, status))
        while failure is not None:
            for text in (str(failure), repr(failure)):
                assert CANARY not in text
                assert GOOD not in text
                assert "alice" not in text
            failure = failure.__context__

    async def test_is_an_outage_while_the_provider_is_down(self) -> None:
        provider = Provider()
        provider.down = True
        assert isinstance(await refused(provider), Unavailable)

    async def test_is_an_outage_while_the_keys_cannot_be_fetched(self) -> None:
        provider, keys = Provider(), KeyServer()
        keys.documents.clear()
        exchange = TokenExchange(WITH_DEFAULT, TokenAuthenticator(WITH_DEFAULT, keys.fetch), provider)
        with pytest.raises(Unavailable):
            await exchange.log_in(request(), NOW)


async def logged_in(claims: Mapping[str, Any], settings: Settings = WITH_DEFAULT) -> LoginAnswer:
    return await Provider({"access_token": token(claims)}).exchange(settings).log_in(request(), NOW)


class TestTheAnswer:
    async def test_holds_the_token_and_whose_it_is(self) -> None:
        claims = PERSON | {
            "preferred_username": "alice",
            "given_name": "Alice",
            "family_name": "Archer",
            "roles": ["user", "finance-bots"],
        }
        answer = await logged_in(claims)
        assert json.loads(answer.model_dump_json(by_alias=True, exclude_none=True)) == {
            "token": token(claims),
            "user": {
                "id": "alice-sub",
                "email": "alice@example.com",
                "username": "alice",
                "domain": "contoso",
                "firstName": "Alice",
                "lastName": "Archer",
                "roles": [{"id": "finance-bots", "name": "finance-bots"}, {"id": "user", "name": "user"}],
                "permissions": [],
            },
        }

    async def test_has_an_id_that_means_the_caller(self) -> None:
        answer = await logged_in(PERSON)
        tokens = TokenAuthenticator(SETTINGS, KeyServer().fetch)
        caller = (await tokens.verify(answer.token.get_secret_value(), NOW)).caller
        assert caller.is_me(answer.user.id)

    async def test_has_the_object_id_when_the_token_has_no_subject(self) -> None:
        without = {name: value for name, value in PERSON.items() if name != "sub"}
        assert (await logged_in(without)).user.id == "alice-oid"

    async def test_has_empty_text_for_what_an_agent_lacks(self) -> None:
        user = (await logged_in(AGENT)).user
        assert (user.email, user.first_name, user.last_name) == ("", "", "")
        assert user.username == "deploy-prod"

    @pytest.mark.parametrize("odd", ["", "a\nb", "x" * 257, 7, ["Alice"], None], ids=repr)
    async def test_shows_no_name_that_is_not_plain_text(self, odd: object) -> None:
        user = (await logged_in(PERSON | {"given_name": odd, "preferred_username": odd})).user
        assert (user.first_name, user.username) == ("", "alice@example.com")

    async def test_has_the_id_for_a_user_name_when_there_is_no_other(self) -> None:
        claims = {name: value for name, value in PERSON.items() if name != "email"} | {"scp": "vault.use"}
        assert (await logged_in(claims)).user.username == "alice-oid"

    async def test_takes_the_user_name_from_the_claim_of_the_settings(self) -> None:
        settings = WITH_DEFAULT.model_copy(update={"claim_username": "upn"})
        assert (await logged_in(PERSON | {"upn": "archer"}, settings)).user.username == "archer"

    async def test_hides_the_token_from_whoever_prints_it(self) -> None:
        answer = await logged_in(PERSON)
        assert GOOD not in f"{answer!r} {answer!s} {answer.model_dump()}"
        verified = await TokenAuthenticator(SETTINGS, KeyServer().fetch).verify(GOOD, NOW)
        assert "alice@example.com" not in repr(verified).partition("claims")[2]


class TestTheRequest:
    def test_is_read_with_whatever_else_clients_send(self) -> None:
        body = b'{"username": "alice", "password": "p", "apiKey": null, "multipleLogin": true, "mfaCode": {"x": 1}}'
        read = LoginRequest.model_validate_json(body, strict=True, by_alias=True, by_name=False)
        assert (read.username, read.secret.get_secret_value()) == ("alice", "p")

    @pytest.mark.parametrize("fields", [{"password": "p", "apiKey": ""}, {"password": "", "apiKey": "p"}], ids=str)
    def test_takes_an_empty_secret_for_none(self, fields: dict[str, str]) -> None:
        assert LoginRequest.model_validate({"username": "alice", **fields}).secret.get_secret_value() == "p"

    @pytest.mark.parametrize(
        ("fields", "at_fault"),
        [
            ({"password": CANARY, "apiKey": CANARY}, ""),
            ({}, ""),
            ({"password": "", "apiKey": None}, ""),
            ({"username": "", "password": CANARY}, "username"),
            ({"username": CANARY * 11, "password": CANARY}, "username"),
            ({"username": None, "password": CANARY}, "username"),
            ({"password": CANARY * 164}, "password"),
            ({"apiKey": CANARY * 164}, "apiKey"),
            ({"password": [CANARY]}, "password"),
        ],
        ids=range(9),
    )
    def test_is_refused_by_the_name_of_its_fault_alone(self, fields: dict[str, Any], at_fault: str) -> None:
        with pytest.raises(ValidationError) as failed:
            LoginRequest.model_validate({"username": "alice"} | fields)
        refusal = invalid_input(failed.value)
        assert [fault.field for fault in refusal.errors] == [at_fault]
        assert CANARY not in f"{failed.value!s} {failed.value!r} {refusal} {refusal.errors}"

    def test_hides_its_secrets_from_whoever_prints_it(self) -> None:
        both = (LoginRequest(username="alice", api_key=SecretStr(CANARY)), request())
        for read in both:
            assert CANARY not in f"{read!r} {read!s} {read.secret!r} {read.model_dump_json()}"


async def identified(headers: Mapping[str, str]) -> str:
    authenticator = ControlRoomAuthenticator(TokenAuthenticator(SETTINGS, KeyServer().fetch))
    return (await authenticator.identify(headers, NOW)).identity.id


OTHER = token(oid="bob")


class TestTheHeaders:
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Authorization": GOOD},
            {"x-authorization": GOOD},
            {"X-AUTHORIZATION": f"Bearer {GOOD}"},
            {"X-Authorization": f"bearer  {GOOD}"},
            {"Authorization": f"Bearer {GOOD}"},
            {"authorization": f"bearer {GOOD}", "X-Authorization": GOOD},
            {"Authorization": f"Bearer {GOOD}", "x-authorization": f"BEARER {GOOD}"},
        ],
        ids=range(7),
    )
    async def test_prove_a_caller(self, headers: dict[str, str]) -> None:
        assert await identified({"Accept": "*/*", **headers}) == "alice-oid"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Authorization": ""},
            {"X-Authorization": "Bearer"},
            {"X-Authorization": f"Bearer Bearer {GOOD}"},
            {"X-Authorization": f"{GOOD},{GOOD}"},
            {"X-Authorization": f"{GOOD}, {GOOD}"},
            {"X-Authorization": f"Bearer {GOOD}, Bearer {GOOD}"},
            {"X-Authorization": f"Basic {GOOD}"},
            {"X-Authorization": GOOD, "x-authorization": GOOD},
            {"X-Authorization": GOOD, "Authorization": f"Bearer {OTHER}"},
            {"X-Authorization": OTHER, "Authorization": f"Bearer {GOOD}"},
            {"X-Authorization": GOOD, "Authorization": "Basic YTpi"},
            {"X-Authorization": GOOD, "Authorization": ""},
            {"X-Authorization": "", "Authorization": f"Bearer {GOOD}"},
            {"Authorization": GOOD},
            {"Authorization": f"Bearer {GOOD}", "authorization": f"Bearer {GOOD}"},
            {"Authorization": f"Bearer {GOOD}, Bearer {GOOD}"},
            {"X-Authorization": f"{GOOD}x"},
            {"X-Authorization": token(exp=1)},
            {"X-Auth": GOOD},
        ],
        ids=range(20),
    )
    async def test_prove_nobody(self, headers: dict[str, str], logged: pytest.LogCaptureFixture) -> None:
        with pytest.raises(Unauthenticated):
            await identified(headers)

    async def test_that_are_missing_are_asked_for(self) -> None:
        with pytest.raises(Unauthenticated) as failed:
            await identified({})
        assert "X-Authorization" in failed.value.detail

    async def test_with_a_bad_token_are_answered_alike(self) -> None:
        details = set()
        for headers in ({"X-Authorization": "x"}, {"X-Authorization": GOOD, "Authorization": f"Bearer {OTHER}"}):
            with pytest.raises(Unauthenticated) as failed:
                await identified(headers)
            details.add(failed.value.detail)
        assert len(details) == 1


REQUIRED = {
    "VAULT_TABLES_URL": "https://tables.example",
    "VAULT_KEY_VAULT_URLS": "https://vault.example",
    "VAULT_ISSUER": "https://login.example/{tenant}/v2.0",
    "VAULT_AUDIENCE": AUDIENCE,
    "VAULT_TENANTS": "contoso,fabrikam",
}


class TestTheTenantOfTheSettings:
    @pytest.mark.parametrize(("given", "read"), [("fabrikam", "fabrikam"), ("", None)])
    def test_is_one_that_is_served_or_none(self, given: str, read: str | None) -> None:
        assert Settings.read(REQUIRED | {"VAULT_LOGIN_TENANT": given}).login_tenant == read

    def test_that_is_not_served_keeps_the_app_from_starting(self) -> None:
        with pytest.raises(SettingsInvalid, match=r"VAULT_LOGIN_TENANT: .*one of the tenants") as failed:
            Settings.read(REQUIRED | {"VAULT_LOGIN_TENANT": "adatum"})
        assert "adatum" not in str(failed.value)

    def test_is_not_blamed_for_tenants_that_are_missing(self) -> None:
        with pytest.raises(SettingsInvalid) as failed:
            Settings.read(REQUIRED | {"VAULT_TENANTS": "", "VAULT_LOGIN_TENANT": "contoso"})
        assert "VAULT_LOGIN_TENANT" not in str(failed.value)
