"""The login by user name over HTTP: at a provider that misbehaves, and at the local one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.cloud import LocalCloud
from tests.api.control_room.test_login import CANARY, WITH_DEFAULT, error, request, tells_nothing
from tests.api.test_authentication import GOOD, NOW, KeyServer
from vault_core.api import signing_keys
from vault_core.api.authentication import TokenAuthenticator
from vault_core.api.control_room.login import IssuerClient, LoginAnswer, TokenExchange
from vault_core.errors import Unauthenticated, Unavailable
from vault_core.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let everything be logged, which must tell nothing."""
    with caplog.at_level(logging.DEBUG):
        yield
    assert tells_nothing(caplog)


class TestOverHttp:
    """The exchange with its own client, at a provider that misbehaves."""

    @pytest.fixture
    async def server(self) -> AsyncIterator[TestServer]:
        self.asked: list[web.Request] = []
        self.open = asyncio.Event()
        app = web.Application()
        app.router.add_get("/contoso/.well-known/openid-configuration", self._discovery)
        app.router.add_route("*", "/{what}", self._answer)
        server = TestServer(app)
        await server.start_server()
        self.here = str(server.make_url(""))
        yield server
        self.open.set()
        await server.close()

    @pytest.fixture
    async def client(self) -> AsyncIterator[IssuerClient]:
        client = IssuerClient()
        yield client
        await client.close()

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": f"{self.here}/contoso", "token_endpoint": f"{self.here}/{self.what}"})

    async def _answer(self, asked: web.Request) -> web.StreamResponse:
        self.asked.append(asked)
        self.form = dict(await asked.post())
        match asked.match_info["what"]:
            case "elsewhere":
                raise web.HTTPTemporaryRedirect("/token")
            case "huge":
                return web.Response(body=b"{" + b" " * signing_keys.MAX_ANSWER_BYTES + b"}")
            case "slow":
                await self.open.wait()
            case "aborts":
                assert asked.transport
                asked.transport.abort()
            case "text":
                return web.Response(text=CANARY)
            case "refuses":
                return web.json_response(error("invalid_client"), status=401)
        return web.json_response({"access_token": GOOD, "token_type": "Bearer"})

    async def log_in(self, client: IssuerClient, what: str) -> LoginAnswer:
        self.what = what
        settings = WITH_DEFAULT.model_copy(update={"issuer": self.here + "/{tenant}"})
        exchange = TokenExchange(settings, TokenAuthenticator(WITH_DEFAULT, KeyServer().fetch), client)
        return await exchange.log_in(request(secret=CANARY + " &=+%é"), NOW)

    async def test_a_login_sends_its_secret_in_the_body_and_never_in_the_url(
        self, server: TestServer, client: IssuerClient
    ) -> None:
        answer = await self.log_in(client, "token")
        assert answer.token.get_secret_value() == GOOD
        [asked] = self.asked
        assert (asked.method, asked.query_string) == ("POST", "")
        assert asked.content_type == "application/x-www-form-urlencoded"
        assert self.form["client_secret"] == CANARY + " &=+%é"

    async def test_a_client_that_the_provider_refuses_is_a_bad_login(
        self, server: TestServer, client: IssuerClient
    ) -> None:
        with pytest.raises(Unauthenticated):
            await self.log_in(client, "refuses")

    @pytest.mark.parametrize("what", ["elsewhere", "huge", "slow", "aborts", "text"])
    async def test_a_provider_that_misbehaves_is_an_outage(
        self,
        server: TestServer,
        client: IssuerClient,
        what: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if what == "slow":
            monkeypatch.setattr(signing_keys, "FETCH_TIMEOUT", timedelta(milliseconds=200))
        with pytest.raises(Unavailable) as failed:
            await self.log_in(client, what)
        assert CANARY not in f"{failed.value} {failed.value.__context__!r}"
        assert len(self.asked) == 1

    async def test_a_provider_that_is_gone_is_an_outage(self, server: TestServer, client: IssuerClient) -> None:
        await server.close()
        with pytest.raises(Unavailable):
            await self.log_in(client, "token")


class TestTheLocalIdentityProvider:
    async def log_in(self, parts: LocalCloud, username: str, secret: str) -> LoginAnswer:
        settings, client = Settings.read(parts.environment), IssuerClient()
        try:
            exchange = TokenExchange(settings, TokenAuthenticator(settings, client), client)
            return await exchange.log_in(request(username, secret), datetime.now(UTC))
        finally:
            await client.close()

    @pytest.mark.parametrize(
        ("username", "tenant", "roles"),
        [
            ("carol", "contoso", ["user"]),
            ("finance-bot", "contoso", ["finance-bots", "user"]),
            ("contoso\\hr-bot", "contoso", ["hr-bots", "user"]),
            ("fabrikam\\mallory", "fabrikam", ["admin", "manager", "user"]),
        ],
    )
    async def test_logs_in_people_and_agents(
        self, local_parts: LocalCloud, username: str, tenant: str, roles: list[str]
    ) -> None:
        secret = local_parts.identity.client_secrets[username.rpartition("\\")[2]]
        user = (await self.log_in(local_parts, username, secret)).user
        assert (user.domain, [role.name for role in user.roles]) == (tenant, roles)

    @pytest.mark.parametrize("username", ["carol", "nobody", "mallory", "fabrikam\\carol", "adatum\\carol"])
    async def test_refuses_a_secret_that_is_not_theirs(self, local_parts: LocalCloud, username: str) -> None:
        with pytest.raises(Unauthenticated):
            await self.log_in(local_parts, username, local_parts.identity.client_secrets["bob"])
