"""Where a call goes: to addresses that were checked, and not a single packet elsewhere."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest

from tests.probing import SHORT, Names, answering, assert_unreachable, call, probe, watch_connections
from vault_core.destinations import Destinations
from vault_core.outbound import DestinationRefused
from vault_core.probe import Probe, open_probe
from vault_core.settings import Settings, SettingsInvalid

PUBLIC, OTHER_PUBLIC, PUBLIC_V6 = "93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"
URL = "https://vendor.example/check"
ENVIRONMENT = {
    "VAULT_TABLES_URL": "http://127.0.0.1:10002/devstoreaccount1",
    "VAULT_KEY_VAULT_URLS": "https://127.0.0.1:8443,https://second.own.example",
    "VAULT_ISSUER": "https://login.example/{tenant}",
    "VAULT_AUDIENCE": "api://vault",
    "VAULT_TENANTS": "contoso",
    "IDENTITY_ENDPOINT": "http://localhost:41056/msi/token/",
}

Attempts = list[tuple[str, int]]


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    return watch_connections(monkeypatch)


def stranger(*answers: list[str]) -> Probe:
    """Return a probe for which no operator allows anything."""
    return Probe(Destinations(), look_up=Names(*answers))


REFUSED = {
    "loopback": "127.0.0.1",
    "private": "10.0.0.5",
    "carrier": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "host of an Azure machine": "168.63.129.16",
    "any": "0.0.0.0",  # noqa: S104 - nothing is bound
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback v6": "::1",
    "any v6": "::",
    "mapped": "::ffff:127.0.0.1",
    "compatible": "::127.0.0.1",
    "NAT64": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::a9fe:a9fe",
    "6to4": "2002:7f00:1::",
    "Teredo": "2001:0:808:808::80ff:fffe",
    "unique local": "fd00::1",
    "link-local v6": "fe80::1",
    "link-local v6 with a zone": "fe80::1%eth0",
    "no address": "vendor.example",
    "nothing": "",
}


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
async def test_no_name_leads_to_an_address_that_is_not_called(address: str, attempts: Attempts) -> None:
    await assert_unreachable(stranger([address]), URL)
    assert attempts == []


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
async def test_one_address_that_is_not_called_spoils_all(address: str, attempts: Attempts) -> None:
    for found in ([PUBLIC, address], [address, PUBLIC], [PUBLIC_V6, OTHER_PUBLIC, address, PUBLIC]):
        await assert_unreachable(stranger(found), URL)
    assert attempts == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "http://vendor.example/",
        "https://vendor.example:22/",
        "https://user@vendor.example/",
        "https://vendor.local/",
        "https://app.vault.azure.net/",
        "file:///etc/passwd",
        "",
    ],
)
async def test_a_url_that_is_refused_is_neither_looked_up_nor_called(url: str, attempts: Attempts) -> None:
    names = Names([PUBLIC])
    one = Probe(Destinations(), look_up=names)
    with pytest.raises(DestinationRefused):
        one.check(url)
    await assert_unreachable(one, url)
    assert names.asked == []
    assert attempts == []


async def test_a_name_that_leads_nowhere_is_unreachable(attempts: Attempts) -> None:
    await assert_unreachable(stranger([]), URL)
    assert attempts == []


async def test_public_addresses_are_called_one_after_the_other(attempts: Attempts) -> None:
    await assert_unreachable(stranger([PUBLIC, OTHER_PUBLIC, PUBLIC_V6]), URL)
    assert attempts[:3] == [(PUBLIC, 443), (OTHER_PUBLIC, 443), (PUBLIC_V6, 443)]
    assert set(attempts[3:]) <= set(attempts[:3])


async def test_a_name_with_very_many_addresses_makes_few_connections(attempts: Attempts) -> None:
    await assert_unreachable(stranger([f"8.8.{number}.8" for number in range(256)]), URL)
    assert len(set(attempts)) == 4
    assert len(attempts) <= 10


async def test_a_name_that_turns_inwards_after_it_was_checked_is_not_followed(attempts: Attempts) -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    turning = Probe(Destinations(), look_up=names)
    assert turning.check(URL) == "vendor.example"
    await assert_unreachable(turning, URL)
    assert attempts == [(PUBLIC, 443)]
    assert names.asked == ["vendor.example"], "one call looks up once"
    await assert_unreachable(turning, URL)
    assert attempts == [(PUBLIC, 443)]


async def test_no_socket_is_opened_to_an_unchecked_address_though_the_client_found_one(
    monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    async def astray(self: object, host: str, port: int, **_: Any) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": "10.0.0.5", "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.TCPConnector, "_resolve_host", astray)
    await assert_unreachable(stranger([PUBLIC]), URL)
    assert attempts == []


async def test_a_peer_elsewhere_than_the_socket_was_opened_to_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(host="127.0.0.2") as elsewhere:
        connect = socket.socket.connect
        monkeypatch.setattr(
            socket.socket, "connect", lambda self, address: connect(self, ("127.0.0.2", elsewhere.port))
        )
        await assert_unreachable(probe(), f"http://127.0.0.1:{elsewhere.port}/")
        await elsewhere.gone.wait()
    assert (elsewhere.connections, elsewhere.requests) == (1, [])


class TestTheOperatorsNetworks:
    async def test_are_called_by_address_over_http(self, attempts: Attempts) -> None:
        async with answering() as peer:
            assert (await call(probe(peer), peer.url)).status == 200
        assert attempts == [("127.0.0.1", peer.port)]

    async def test_are_called_by_name(self, attempts: Attempts) -> None:
        async with answering() as peer:  # which speaks no TLS
            await assert_unreachable(probe(peer), f"https://vendor.example:{peer.port}/", within=SHORT)
        assert attempts == [("127.0.0.1", peer.port)]

    @pytest.mark.parametrize("answer", [["127.0.0.1", "10.0.0.5"], ["127.0.0.1", "169.254.169.254"]], ids=str)
    async def test_do_not_open_what_is_beside_them(self, answer: list[str], attempts: Attempts) -> None:
        await assert_unreachable(probe(names=Names(answer)), URL)
        assert attempts == []

    @pytest.mark.parametrize("network", ["0.0.0.0/0", "169.254.0.0/16"])
    async def test_do_not_open_the_metadata(self, network: str, attempts: Attempts) -> None:
        one = settled({"VAULT_OUTBOUND_NETWORKS": network})
        await assert_unreachable(one, "http://169.254.169.254/metadata/identity/oauth2/token")
        assert attempts == []


def settled(given: dict[str, str]) -> Probe:
    environment = ENVIRONMENT | given
    return open_probe(Settings.read(environment), environment)


class TestWhatTheSettingsSay:
    @pytest.mark.parametrize("port", [10002, 8443, 41056])
    async def test_leaves_the_apps_own_stores_and_identity_uncalled(self, port: int, attempts: Attempts) -> None:
        one = settled({"VAULT_OUTBOUND_NETWORKS": "127.0.0.0/8, ::1/128", "VAULT_OUTBOUND_PORTS": f"443,{port}"})
        for host in ("127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"):
            with pytest.raises(DestinationRefused):
                one.check(f"http://{host}:{port}/")
            await assert_unreachable(one, f"http://{host}:{port}/")
        assert attempts == []

    def test_leaves_the_apps_own_names_uncalled(self) -> None:
        with pytest.raises(DestinationRefused):
            settled({}).check("https://second.own.example/")

    def test_allows_ports_and_networks(self) -> None:
        one = settled({"VAULT_OUTBOUND_NETWORKS": "127.0.0.0/8,fd00:1::/32", "VAULT_OUTBOUND_PORTS": "443, 9443"})
        for url in ("http://127.0.0.1:7073/", "http://[fd00:1::1]/", "https://vendor.example:9443/", URL):
            assert one.check(url)

    def test_allows_nothing_of_its_own_accord(self) -> None:
        for url in ("http://127.0.0.1:7073/", "https://10.0.0.5/", "https://vendor.example:9443/"):
            with pytest.raises(DestinationRefused):
                settled({}).check(url)

    def test_needs_no_identity_endpoint(self) -> None:
        environment = {name: value for name, value in ENVIRONMENT.items() if name != "IDENTITY_ENDPOINT"}
        assert open_probe(Settings.read(environment), environment).check(URL) == "vendor.example"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("VAULT_OUTBOUND_NETWORKS", "vendor.example"),
            ("VAULT_OUTBOUND_NETWORKS", "10.0.0.1/8"),
            ("VAULT_OUTBOUND_NETWORKS", "10.0.0.0/33"),
            ("VAULT_OUTBOUND_PORTS", "https"),
            ("VAULT_OUTBOUND_PORTS", "0"),
            ("VAULT_OUTBOUND_PORTS", "65536"),
            ("VAULT_OUTBOUND_PORTS", ","),
        ],
    )
    def test_is_refused_by_its_name_alone_when_it_is_none(self, name: str, value: str) -> None:
        with pytest.raises(SettingsInvalid, match=name) as refused:
            settled({name: value})
        assert value == "," or value not in str(refused.value).replace("greater than or equal to 1", "")
