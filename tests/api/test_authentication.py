"""Tokens: whom they make a caller, and every way in which one is bad. All tokens here are really signed."""

from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vault_core.api.authentication import MAX_HEADER_LENGTH, MAX_OTHER_ROLES, MAX_ROLE_LENGTH, TokenAuthenticator
from vault_core.errors import Unauthenticated, Unavailable
from vault_core.identities import Caller, Identity, Role
from vault_core.settings import Settings

NOW = datetime(2026, 1, 27, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
AUDIENCE = "api://vault"
SETTINGS = Settings(
    tables_url="https://tables.example",
    key_vault_urls=("https://vault.example",),
    issuer="https://login.example/{tenant}/v2.0",
    audience=AUDIENCE,
    tenants=frozenset({"contoso", "fabrikam"}),
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

KEYS: Mapping[str, PrivateKey] = {
    "contoso-rsa": rsa.generate_private_key(65537, 2048),
    "contoso-p256": ec.generate_private_key(ec.SECP256R1()),
    "contoso-p384": ec.generate_private_key(ec.SECP384R1()),
    "contoso-p521": ec.generate_private_key(ec.SECP521R1()),
    "fabrikam-rsa": rsa.generate_private_key(65537, 2048),
}


def jwk(kid: str, key: PrivateKey, **more: Any) -> dict[str, Any]:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    public: Any = key.public_key()
    return {
        **json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(public)),
        "kid": kid,
        "use": "sig",
        **more,
    }


class KeyServer:
    """The issuers' documents by URL; remembers what was fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.documents: dict[str, Any] = {}
        for tenant in ("contoso", "fabrikam"):
            issuer = f"https://login.example/{tenant}/v2.0"
            keys = [jwk(kid, key) for kid, key in KEYS.items() if kid.startswith(tenant)]
            self.documents[f"{issuer}/.well-known/openid-configuration"] = {
                "issuer": issuer,
                "jwks_uri": f"https://login.example/{tenant}/keys",
            }
            self.documents[f"https://login.example/{tenant}/keys"] = {"keys": keys}

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if url not in self.documents:
            raise Unavailable("no such document")
        return json.dumps(self.documents[url]).encode()


def encoded(part: bytes | Mapping[str, Any]) -> bytes:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(text).rstrip(b"=")


def sign(
    header: bytes | Mapping[str, Any], claims: bytes | Mapping[str, Any], key: Any, signed_as: str = "RS256"
) -> str:
    """Return a token with any header and claims, even ones that no library would write."""
    signed = encoded(header) + b"." + encoded(claims)
    return (signed + b"." + encoded(jwt.get_algorithm_by_name(signed_as).sign(signed, key))).decode()


PERSON: dict[str, Any] = {
    "iss": "https://login.example/contoso/v2.0",
    "aud": AUDIENCE,
    "tid": "contoso",
    "iat": SECONDS,
    "nbf": SECONDS,
    "exp": SECONDS + 3600,
    "oid": "alice-oid",
    "sub": "alice-sub",
    "email": "alice@example.com",
    "roles": ["user"],
}
AGENT: dict[str, Any] = {name: PERSON[name] for name in PERSON if name != "email"} | {
    "oid": "deployer",
    "sub": "deployer",
    "azp": "deploy-prod",
}
RS256: dict[str, Any] = {"alg": "RS256", "kid": "contoso-rsa"}


def token(claims: Mapping[str, Any] = PERSON, without: str = "", **changed: Any) -> str:
    claims = {name: value for name, value in claims.items() if name != without} | changed
    return sign(RS256, claims, KEYS["contoso-rsa"])


async def identify(bearer: str, now: datetime = NOW, settings: Settings = SETTINGS) -> Caller:
    authenticator = TokenAuthenticator(settings, KeyServer().fetch)
    return await authenticator.identify({"Authorization": f"Bearer {bearer}"}, now)


class TestAnAcceptedToken:
    async def test_makes_a_person_the_caller(self) -> None:
        caller = await identify(token(sid="session-1"))
        assert caller.tenant == "contoso"
        assert caller.identity == Identity(
            kind="human", id="alice-oid", email="alice@example.com", session_id="session-1"
        )
        assert caller.roles == {Role.USER}
        assert caller.aliases == {"alice-oid", "alice-sub"}

    async def test_makes_an_agent_the_caller(self) -> None:
        assert (await identify(token(AGENT))).identity == Identity(kind="agent", id="deployer", name="deploy-prod")

    @pytest.mark.parametrize(
        ("algorithm", "kid"),
        [
            ("RS256", "contoso-rsa"),
            ("RS384", "contoso-rsa"),
            ("RS512", "contoso-rsa"),
            ("ES256", "contoso-p256"),
            ("ES384", "contoso-p384"),
            ("ES512", "contoso-p521"),
        ],
    )
    async def test_may_be_signed_with(self, algorithm: str, kid: str) -> None:
        bearer = sign({"alg": algorithm, "kid": kid}, PERSON, KEYS[kid], signed_as=algorithm)
        assert (await identify(bearer)).identity.id == "alice-oid"

    async def test_may_name_the_vault_among_its_audiences(self) -> None:
        assert (await identify(token(aud=["api://other", AUDIENCE]))).identity.id == "alice-oid"

    async def test_has_its_subject_for_id_when_it_has_no_object_id(self) -> None:
        caller = await identify(token(without="oid"))
        assert caller.identity.id == "alice-sub"
        assert caller.aliases == {"alice-sub"}

    @pytest.mark.parametrize("header", ["Authorization", "authorization", "AUTHORIZATION"])
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    async def test_is_found_whatever_the_case_of_header_and_scheme(self, header: str, scheme: str) -> None:
        authenticator = TokenAuthenticator(SETTINGS, KeyServer().fetch)
        caller = await authenticator.identify({"Accept": "*/*", header: f"{scheme} {token()}"}, NOW)
        assert caller.identity.id == "alice-oid"

    @pytest.mark.parametrize(
        "changed",
        [{"exp": SECONDS - 29}, {"exp": SECONDS - 29.5}, {"nbf": SECONDS + 30}, {"iat": SECONDS + 30}],
        ids=str,
    )
    async def test_is_good_within_half_a_minute_of_its_times(self, changed: dict[str, Any]) -> None:
        assert (await identify(token(**changed))).identity.id == "alice-oid"

    async def test_needs_no_nbf_and_no_iat(self) -> None:
        claims = {name: value for name, value in PERSON.items() if name not in ("nbf", "iat")}
        assert (await identify(token(claims))).identity.id == "alice-oid"

    async def test_is_judged_by_the_given_time_and_not_by_the_clock(self) -> None:
        past = datetime(2001, 1, 1, tzinfo=UTC)
        seconds = int(past.timestamp())
        bearer = token(iat=seconds, nbf=seconds, exp=seconds + 60)
        assert (await identify(bearer, now=past)).identity.id == "alice-oid"

    async def test_is_read_by_the_claim_names_of_the_settings(self) -> None:
        renamed = SETTINGS.model_copy(
            update={
                "claim_tenant": "org",
                "claim_roles": "groups",
                "claim_email": "mail",
                "claim_agent": "label",
            }
        )
        claims: dict[str, Any] = {"org": "contoso", "groups": ["admin"], "mail": "bob@example.com"}
        caller = await identify(token(without="email", **claims), settings=renamed)
        assert caller.roles == {Role.ADMIN}
        assert caller.identity.email == "bob@example.com"

    async def test_cannot_bring_its_own_key(self) -> None:
        """`jwk`, `jku` and `x5u` are ignored: the issuer's key decides, and nothing else is fetched."""
        server = KeyServer()
        header = {**RS256, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert"}
        header["jwk"] = jwk("contoso-rsa", KEYS["fabrikam-rsa"])
        own = sign(header, PERSON, KEYS["fabrikam-rsa"])
        authenticator = TokenAuthenticator(SETTINGS, server.fetch)
        with pytest.raises(Unauthenticated):
            await authenticator.identify({"Authorization": f"Bearer {own}"}, NOW)
        assert all(url.startswith("https://login.example/contoso/") for url in server.fetched)


class TestRoles:
    @pytest.mark.parametrize(
        ("given", "roles"),
        [
            (["user", "locker-admin"], {Role.USER, Role.LOCKER_ADMIN}),
            (["user", "Admin", "root", "admin "], {Role.USER}),
            ([["admin"], {"admin": 1}, 1, None, "viewer"], {Role.VIEWER}),
            ([], set()),
            ("admin", set()),
            ({"admin": True}, set()),
            (None, set()),
        ],
        ids=range(7),
    )
    async def test_are_the_known_ones_of_a_list(self, given: object, roles: set[Role]) -> None:
        assert (await identify(token(roles=given))).roles == roles

    async def test_are_none_when_the_claim_is_missing(self) -> None:
        caller = await identify(token(without="roles"))
        assert (caller.roles, caller.other_roles) == (frozenset(), frozenset())


class TestOtherRoles:
    @pytest.mark.parametrize(
        ("given", "others"),
        [
            (["user", "finance-bots", "locker-admin"], {"finance-bots"}),
            (["User", "user ", "HR", "hr", "Büro 7"], {"User", "user ", "HR", "hr", "Büro 7"}),
            (["x" * MAX_ROLE_LENGTH, "y" * (MAX_ROLE_LENGTH + 1), ""], {"x" * MAX_ROLE_LENGTH}),
            (["a\nb", "a\x00", "hr\u200b", "\u202erh", "\uff48r", "e\u0301", "\ud800"], set()),
            ([["hr"], {"hr": 1}, 7, None, True, "hr"], {"hr"}),
            ("finance-bots", set()),
            ({"finance-bots": True}, set()),
            (None, set()),
        ],
        ids=range(8),
    )
    async def test_are_kept_to_the_letter_when_they_are_plain(self, given: object, others: set[str]) -> None:
        assert (await identify(token(roles=given))).other_roles == others

    async def test_are_the_first_two_hundred(self) -> None:
        given = [f"team-{number}" for number in range(MAX_OTHER_ROLES + 1)]
        caller = await identify(token(roles=[*given[:1] * 300, "user", *given]))
        assert caller.other_roles == set(given[:MAX_OTHER_ROLES])
        assert caller.roles == {Role.USER}

    async def test_give_no_right(self) -> None:
        caller = await identify(token(roles=["Admin", "ADMIN", "admins"]))
        assert not any(caller.has(role) for role in Role)


class TestAPerson:
    async def test_is_known_by_a_user_name_and_has_no_email_when_that_is_not_one(self) -> None:
        identity = (await identify(token(without="email", preferred_username="alice"))).identity
        assert identity == Identity(kind="human", id="alice-oid")

    async def test_has_a_user_name_that_looks_like_one_for_email(self) -> None:
        bearer = token(without="email", preferred_username="alice@example.com")
        assert (await identify(bearer)).identity.email == "alice@example.com"

    @pytest.mark.parametrize(
        "claims",
        [
            {"azp": "deploy-prod"},
            {"app_displayname": "deploy-prod", "azp": "x", "appid": "y", "client_id": "z"},
        ],
        ids=str,
    )
    async def test_is_no_agent_whatever_its_client_is_called(self, claims: dict[str, Any]) -> None:
        identity = (await identify(token(**claims))).identity
        assert (identity.kind, identity.name) == ("human", None)

    @pytest.mark.parametrize("claims", [{"scp": "vault.use"}, {"idtyp": "user"}, {"idtyp": "device"}], ids=str)
    async def test_without_email_and_user_name_does_not_pass_for_its_client(self, claims: dict[str, Any]) -> None:
        identity = (await identify(token(without="email", azp="deploy-prod", **claims))).identity
        assert identity == Identity(kind="human", id="alice-oid")

    @pytest.mark.parametrize(
        "email",
        [
            "alice",
            "alice@",
            "@example.com",
            "eve@evil.example@example.com",
            "a b@example.com",
            "a\n@example.com",
            "a@example.com\n",
            "\u017fam@example.com",  # folds to sam@
            "x" * 250 + "@a.de",
            ["alice@example.com"],
            7,
        ],
        ids=repr,
    )
    async def test_has_no_email_that_does_not_look_like_one(self, email: object) -> None:
        assert (await identify(token(email=email))).identity == Identity(kind="human", id="alice-oid")

    @pytest.mark.parametrize("verdict", ["email_verified", "xms_edov"])
    @pytest.mark.parametrize("answer", [False, "false", 0, None, []], ids=repr)
    async def test_has_no_email_that_the_issuer_calls_unverified(self, verdict: str, answer: object) -> None:
        bearer = token(PERSON | {"preferred_username": "alice@example.com", verdict: answer})
        assert (await identify(bearer)).identity.email is None

    @pytest.mark.parametrize("answer", [True, "true", 1, "1"], ids=repr)
    async def test_has_an_email_that_the_issuer_calls_verified(self, answer: object) -> None:
        assert (await identify(token(email_verified=answer))).identity.email == "alice@example.com"


class TestAnAgent:
    @pytest.mark.parametrize("claim", ["azp", "appid", "client_id"])
    async def test_is_named_by(self, claim: str) -> None:
        bearer = token({**AGENT, "azp": None, claim: "deploy-prod"})
        assert (await identify(bearer)).identity.name == "deploy-prod"

    async def test_is_named_by_the_claim_of_the_settings_first(self) -> None:
        bearer = token(AGENT, app_displayname="Deployer", azp="client-1")
        by_display_name = SETTINGS.model_copy(update={"claim_agent": "app_displayname"})
        assert (await identify(bearer)).identity.name == "client-1"
        assert (await identify(bearer, settings=by_display_name)).identity.name == "Deployer"

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "a\nb",
            "deploy\u200b-prod",
            "\u202edeploy",
            "\uff44eploy-prod",
            "\ud800",
            "x" * 257,
            7,
            ["deploy-prod"],
            None,
        ],
        ids=repr,
    )
    async def test_is_not_named_by_what_could_be_taken_for_another_name(self, name: object) -> None:
        assert (await identify(token(AGENT, app_displayname=name))).identity.name == "deploy-prod"

    async def test_is_no_person_when_the_issuer_says_it_is_an_app(self) -> None:
        identity = (await identify(token(AGENT, idtyp="app", email="ceo@example.com"))).identity
        assert (identity.kind, identity.email) == ("agent", None)

    @pytest.mark.parametrize("empty", ["", None], ids=repr)
    async def test_is_no_person_for_an_empty_email(self, empty: object) -> None:
        assert (await identify(token(AGENT, email=empty))).identity.kind == "agent"


class TestASession:
    @pytest.mark.parametrize("claim", ["sid", "session_id", "uti", "jti"])
    async def test_is_the_claim(self, claim: str) -> None:
        assert (await identify(token(PERSON | {claim: "s-1"}))).identity.session_id == "s-1"

    @pytest.mark.parametrize("given", ["", "x" * 257, "a\x00", 7], ids=repr)
    async def test_is_left_out_when_unusable(self, given: object) -> None:
        assert (await identify(token(sid=given))).identity.session_id is None


PUBLIC_PEM = KEYS["contoso-rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def header(**changed: Any) -> str:
    """Return a token whose header differs from a good one, signed with the contoso key."""
    changed = {name: value for name, value in (RS256 | changed).items() if value is not ...}
    return sign(changed, PERSON, KEYS["contoso-rsa"])


def foreign(**changed: Any) -> str:
    """Return a token that fabrikam's key signed."""
    return sign(RS256 | changed, PERSON, KEYS["fabrikam-rsa"])


def hmac_with_the_public_key() -> str:
    signed = encoded({"alg": "HS256", "kid": "contoso-rsa"}) + b"." + encoded(PERSON)
    mac = jwt.get_algorithm_by_name("HS256").sign(signed, PUBLIC_PEM)
    return (signed + b"." + encoded(mac)).decode()


def numbers(text: str) -> str:
    """Return a genuinely signed token whose `exp` is this JSON text."""
    claims = json.dumps(PERSON | {"exp": "EXP"}).replace('"EXP"', text)
    return sign(RS256, claims.encode(), KEYS["contoso-rsa"])


GOOD = token()
FIRST, SECOND, THIRD = GOOD.split(".")
TIME = "a time is not a number of seconds"
NO_KEY = "the issuer has no such key for the algorithm"
NO_TENANT = "the tenant is not served"
NO_ID = "no usable id"
SHAPE = "not a bearer token of three parts"

# Every bad token and the reason that must be its undoing, so that none is refused for another by chance.
REFUSED: dict[str, tuple[str, str]] = {
    "alg none, unsigned": (f"{encoded({'alg': 'none', 'kid': 'contoso-rsa'}).decode()}.{SECOND}.", SHAPE),
    "alg none, signed": (header(alg="none"), "the algorithm is not accepted"),
    "alg None": (header(alg="None"), "the algorithm is not accepted"),
    "alg missing": (header(alg=...), "the algorithm is not accepted"),
    "alg a list": (header(alg=["RS256"]), "the algorithm is not accepted"),
    "HS256 with the public key": (hmac_with_the_public_key(), "the algorithm is not accepted"),
    "PS256": (
        sign({**RS256, "alg": "PS256"}, PERSON, KEYS["contoso-rsa"], "PS256"),
        "the algorithm is not accepted",
    ),
    "EdDSA": (header(alg="EdDSA"), "the algorithm is not accepted"),
    "RS256 key named with ES256": (header(alg="ES256"), NO_KEY),
    "EC key named with RS256": (header(kid="contoso-p256"), NO_KEY),
    "ES384 with a P-256 key": (
        sign({"alg": "ES384", "kid": "contoso-p256"}, PERSON, KEYS["contoso-p384"], "ES384"),
        NO_KEY,
    ),
    "no kid": (header(kid=...), "no key is named"),
    "kid a number": (header(kid=1), "InvalidTokenError"),
    "kid unknown": (header(kid="unknown"), NO_KEY),
    "kid empty": (header(kid=""), NO_KEY),
    "crit": (header(crit=["exp"], exp=1), "InvalidTokenError"),
    "crit that the library understands": (header(crit=["b64"], b64=True), "an extension must be understood"),
    "unencoded payload": (header(crit=["b64"], b64=False), "DecodeError"),
    "signed by the key of another tenant": (foreign(), "InvalidSignatureError"),
    "signed by and naming the key of another tenant": (foreign(kid="fabrikam-rsa"), NO_KEY),
    "signed as RS512, named RS256": (
        sign(RS256, PERSON, KEYS["contoso-rsa"], "RS512"),
        "InvalidSignatureError",
    ),
    "claims changed": (
        f"{FIRST}.{encoded({**PERSON, 'roles': ['admin']}).decode()}.{THIRD}",
        "InvalidSignatureError",
    ),
    "tenant not served": (token(tid="adatum"), NO_TENANT),
    "tenant in other case": (token(tid="Contoso"), NO_TENANT),
    "tenant a list": (token(tid=["contoso"]), NO_TENANT),
    "tenant missing": (token(without="tid"), NO_TENANT),
    "issuer of another tenant": (token(iss="https://login.example/fabrikam/v2.0"), "InvalidIssuerError"),
    "issuer unknown": (token(iss="https://evil.example/contoso/v2.0"), "InvalidIssuerError"),
    "issuer a list": (token(iss=[PERSON["iss"]]), "InvalidIssuerError"),
    "issuer missing": (token(without="iss"), "MissingRequiredClaimError"),
    "audience of another app": (token(aud="api://other"), "InvalidAudienceError"),
    "audience longer": (token(aud=AUDIENCE + "/"), "InvalidAudienceError"),
    "audience missing": (token(without="aud"), "MissingRequiredClaimError"),
    "audience empty": (token(aud=[]), "MissingRequiredClaimError"),
    "expired": (token(exp=SECONDS - 31), "the token has expired"),
    "expired at the end of the leeway": (token(exp=SECONDS - 30), "the token has expired"),
    "exp zero": (token(exp=0), "the token has expired"),
    "exp missing": (token(without="exp"), "MissingRequiredClaimError"),
    "exp null": (token(exp=None), "MissingRequiredClaimError"),
    "exp a string": (token(exp=str(SECONDS + 60)), TIME),
    "exp true": (token(exp=True), TIME),
    "exp a list": (token(exp=[SECONDS + 60]), TIME),
    "exp negative": (token(exp=-1), TIME),
    "exp after the last year": (token(exp=253_402_300_800), TIME),
    "exp NaN": (numbers("NaN"), TIME),
    "exp Infinity": (numbers("Infinity"), TIME),
    "exp 1e400": (numbers("1e400"), TIME),
    "exp of 400 digits": (numbers("9" * 400), TIME),
    "exp of 5000 digits": (numbers("9" * 5000), "DecodeError"),
    "not yet valid": (token(nbf=SECONDS + 31), "the token is not valid yet"),
    "nbf null": (token(nbf=None), TIME),
    "nbf a string": (token(nbf="0"), TIME),
    "issued in the future": (token(iat=SECONDS + 31), "the token is not valid yet"),
    "iat a string": (token(iat="0"), TIME),
    "no id": (token({name: PERSON[name] for name in PERSON if name not in ("oid", "sub")}), NO_ID),
    "id with a slash": (token(oid="a/b"), NO_ID),
    "id a parent folder": (token(oid=".."), NO_ID),
    "id with a line end": (token(oid="alice\n"), NO_ID),
    "id too long": (token(oid="x" * 129), NO_ID),
    "id empty": (token(oid=""), NO_ID),
    "id a number": (token(oid=7), NO_ID),
    "id of a timer": (token(oid="system:expire_leases"), NO_ID),
    "id of a timer in other case": (token(oid="SYSTEM:expire_leases"), NO_ID),
    "subject of a timer": (token(sub="system:expire_leases"), NO_ID),
    "subject unusable": (token(sub="a b"), NO_ID),
    "subject a number": (token(sub=7), "InvalidSubjectError"),
    "neither a person nor a named agent": (
        token(AGENT, without="azp"),
        "neither a person nor an agent with a name",
    ),
    "one part": (FIRST, SHAPE),
    "two parts": (f"{FIRST}.{SECOND}", SHAPE),
    "four parts": (f"{GOOD}.{THIRD}", SHAPE),
    "empty signature": (f"{FIRST}.{SECOND}.", SHAPE),
    "padding": (f"{GOOD}=", SHAPE),
    "two tokens": (f"{GOOD}, Bearer {GOOD}", SHAPE),
    "trailing line end": (f"{GOOD}\n", SHAPE),
    "letters beyond ASCII": (f"{FIRST}.{SECOND}.\u00e9", SHAPE),
    "nothing": ("", SHAPE),
    "not base64": ("a.b.c", "DecodeError"),
    "header not JSON": (sign(b"{", PERSON, KEYS["contoso-rsa"]), "DecodeError"),
    "header a list": (sign(b"[]", PERSON, KEYS["contoso-rsa"]), "DecodeError"),
    "claims not JSON": (sign(RS256, b"\xff", KEYS["contoso-rsa"]), "DecodeError"),
    "claims a list": (sign(RS256, b"[]", KEYS["contoso-rsa"]), "DecodeError"),
    "claims too deep": (sign(RS256, b"[" * 11_000, KEYS["contoso-rsa"]), "DecodeError"),
    "claims deep inside": (sign(RS256, b'{"tid":' * 1_500, KEYS["contoso-rsa"]), "DecodeError"),
    "too long": (token(padding="x" * MAX_HEADER_LENGTH), "too long"),
}


class TestABadToken:
    @pytest.mark.parametrize("case", REFUSED)
    async def test_is_refused_for_its_fault(self, case: str, caplog: pytest.LogCaptureFixture) -> None:
        bearer, reason = REFUSED[case]
        with caplog.at_level(logging.INFO), pytest.raises(Unauthenticated):
            await identify(bearer)
        assert [record.getMessage() for record in caplog.records] == [f'token=refused reason="{reason}"']

    async def test_is_answered_alike_whatever_its_fault(self) -> None:
        details = set()
        for bearer, _ in REFUSED.values():
            with pytest.raises(Unauthenticated) as refused:
                await identify(bearer)
            details.add((refused.value.detail, refused.value.__cause__))
        assert len(details) == 1

    @pytest.mark.parametrize("case", ["tenant not served", "alg none, signed", "no kid", "too long", "tenant a list"])
    async def test_makes_the_vault_fetch_nothing_when_no_key_could_help(self, case: str) -> None:
        server = KeyServer()
        authenticator = TokenAuthenticator(SETTINGS, server.fetch)
        with pytest.raises(Unauthenticated):
            await authenticator.identify({"Authorization": f"Bearer {REFUSED[case][0]}"}, NOW)
        assert server.fetched == []

    @pytest.mark.parametrize("value", ["", "Bearer", GOOD, f"Basic {GOOD}", f"Bearer{GOOD}", f" Bearer {GOOD}"])
    async def test_is_one_that_is_not_a_bearer_token(self, value: str) -> None:
        authenticator = TokenAuthenticator(SETTINGS, KeyServer().fetch)
        with pytest.raises(Unauthenticated):
            await authenticator.identify({"Authorization": value}, NOW)

    async def test_is_one_that_comes_twice(self) -> None:
        authenticator = TokenAuthenticator(SETTINGS, KeyServer().fetch)
        with pytest.raises(Unauthenticated):
            await authenticator.identify({"Authorization": f"Bearer {GOOD}", "authorization": f"Bearer {GOOD}"}, NOW)


class TestATokenWithoutAHeader:
    async def test_proves_the_same_caller_and_shows_its_claims(self) -> None:
        verified = await TokenAuthenticator(SETTINGS, KeyServer().fetch).verify(GOOD, NOW)
        assert verified.caller == await identify(GOOD)
        assert verified.claims == PERSON

    @pytest.mark.parametrize("case", REFUSED)
    async def test_is_refused_for_the_same_fault(self, case: str, caplog: pytest.LogCaptureFixture) -> None:
        bare, reason = REFUSED[case]
        with caplog.at_level(logging.INFO), pytest.raises(Unauthenticated):
            await TokenAuthenticator(SETTINGS, KeyServer().fetch).verify(bare, NOW)
        assert [record.getMessage() for record in caplog.records] == [f'token=refused reason="{reason}"']


async def test_a_request_without_a_token_is_told_how_to_send_one() -> None:
    authenticator = TokenAuthenticator(SETTINGS, KeyServer().fetch)
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.identify({"Accept": "*/*"}, NOW)
    assert "Authorization: Bearer" in refused.value.detail


async def test_each_tenant_is_believed_on_its_own_keys() -> None:
    fabrikam = PERSON | {"tid": "fabrikam", "iss": "https://login.example/fabrikam/v2.0"}
    bearer = sign({"alg": "RS256", "kid": "fabrikam-rsa"}, fabrikam, KEYS["fabrikam-rsa"])
    assert (await identify(bearer)).tenant == "fabrikam"
    with pytest.raises(Unauthenticated):
        await identify(sign(RS256, fabrikam, KEYS["contoso-rsa"]))


async def test_keys_that_cannot_be_fetched_are_an_outage_and_not_a_bad_token() -> None:
    server = KeyServer()
    server.documents.clear()
    authenticator = TokenAuthenticator(SETTINGS, server.fetch)
    with pytest.raises(Unavailable):
        await authenticator.identify({"Authorization": f"Bearer {GOOD}"}, NOW)
