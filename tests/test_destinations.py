"""Which URLs are called: refused trick by trick."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_core.destinations import Destinations, Endpoint
from vault_core.outbound import DestinationRefused

ANYWHERE = Destinations()
PRIVATE = Destinations(networks=(ip_network("127.0.0.0/8"), ip_network("10.20.0.0/16"), ip_network("fd00:1::/32")))


def refusal(url: str, destinations: Destinations = ANYWHERE) -> str:
    with pytest.raises(DestinationRefused) as refused:
        destinations.read(url)
    return refused.value.reason


NAMES_THAT_ARE_NONE = {
    "loopback": "127.0.0.1",
    "public address": "93.184.216.34",
    "short": "127.1",
    "shorter": "127.0.1",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "long octal": "017700000001",
    "hex": "0x7f000001",
    "dotted hex": "0x7f.0.0.1",
    "hex at the end": "127.0.0.0x1",
    "hex without digits": "127.0.0.0x",
    "padded": "127.000.000.001",
    "overflowing": "4294967297",
    "five parts": "127.0.0.1.1",
    "trailing dot": "127.0.0.1.",
    "trailing dot of a decimal": "2130706433.",
    "metadata": "169.254.169.254",
    "host of the machine": "168.63.129.16",
    "zero": "0",
    "loopback v6": "[::1]",
    "any v6": "[::]",
    "mapped": "[::ffff:127.0.0.1]",
    "mapped in hex": "[::ffff:7f00:1]",
    "public v6": "[2606:4700:4700::1111]",
    "bracketed v4": "[127.0.0.1]",
    "bracketed name": "[vendor.example]",
    "brackets around nothing": "[]",
    "future address": "[v1.fe80::a]",
    "bare v6": "::1",
    "numbers after a name": "vendor.example.1",
    "single label": "vendor",
    "single label with a dot": "vendor.",
    "localhost": "localhost",
    "name with a dot": "vendor.example.",
    "two dots": "vendor..example",
    "leading dot": ".vendor.example",
    "only a dot": ".",
    "leading hyphen": "-vendor.example",
    "trailing hyphen": "vendor-.example",
    "trailing hyphen at the end": "vendor.example-",
    "underscore": "ven_dor.example",
    "long label": f"{'a' * 64}.example",
    "long name": ".".join(["a" * 62] * 4) + ".example",
    "punycode of nothing": "xn--.example",
    "punycode of ascii": "xn--vendor-.example",
    "punycode that is none": "xn--99999999.example",
    "punycode in the last label": "vendor.xn--99999999",
    "empty": "",
    "only a port": ":443",
    "port without digits": "vendor.example:",
    "port in words": "vendor.example:https",
    "padded port": "vendor.example:0443",
    "port with a sign": "vendor.example:+443",
    "port zero": "vendor.example:0",
    "two ports": "vendor.example:443:443",
    "comma": "vendor.example,127.0.0.1",
}


@pytest.mark.parametrize("authority", NAMES_THAT_ARE_NONE.values(), ids=NAMES_THAT_ARE_NONE)
def test_a_url_names_a_host_by_its_full_name(authority: str) -> None:
    assert (
        refusal(f"https://{authority}/check")
        == "does not name a public host by its full name: addresses are not called"
    )


NO_URL_TEXT = {
    "space": "https://vendor.example/a b",
    "leading space": " https://vendor.example/",
    "trailing line break": "https://vendor.example/\n",
    "line break": "https://vendor.example/\r\nHost: 127.0.0.1",
    "tab": "https://vendor.exa\tmple/",
    "null": "https://vendor.example/\0",
    "delete": "https://vendor.example/\x7f",
    "backslash": "https:\\\\vendor.example\\",
    "backslash before an address": "https://vendor.example\\@127.0.0.1/",
    "full-width digits": "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "circled digits": "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "ideographic full stop": "https://127\u30020\u30020\u30021/",
    "arabic digits": "https://\u0661\u0662\u0667.0.0.1/",
    "name beyond ascii": "https://bücher.example/",
    "cyrillic lookalike": "https://v\u0430ult.azure.net/",
    "soft hyphen": "https://vend\u00ador.example/",
    "zero-width joiner": "https://local\u200dhost/",
    "kelvin sign": "https://\u212aeyvault.example/",
    "sharp s": "https://straße.example/",
    "zone": "https://[fe80::1%eth0]/",
    "broken percent": "https://vendor.example/%",
    "half a percent": "https://vendor.example/%4",
    "percent of no digits": "https://vendor.example/%zz",
    "quote": 'https://vendor.example/"',
    "angle": "https://vendor.example/<a>",
    "brace": "https://vendor.example/{a}",
    "pipe": "https://vendor.example/a|b",
    "caret": "https://vendor.example/a^b",
    "grave": "https://vendor.example/`a`",
    "path beyond ascii": "https://vendor.example/prüfen",
    "half a surrogate": "https://vendor.example/\ud800",
}


@pytest.mark.parametrize("url", NO_URL_TEXT.values(), ids=NO_URL_TEXT)
def test_a_url_has_the_characters_of_one(url: str) -> None:
    assert refusal(url).startswith("has characters that a URL has not")


NOT_HTTPS = {
    "http": "http://vendor.example/",
    "ftp": "ftp://vendor.example/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://vendor.example:70/",
    "no scheme": "vendor.example/check",
    "relative": "//vendor.example/check",
    "one slash": "https:/vendor.example/",
    "no slash": "https:vendor.example",
    "scheme in the scheme": "httpshttps://vendor.example/",
    "websocket": "wss://vendor.example/",
    "script": "javascript:alert(1)",
    "data": "data:text/plain,a",
    "nothing": "",
}


@pytest.mark.parametrize("url", NOT_HTTPS.values(), ids=NOT_HTTPS)
def test_a_url_begins_with_https(url: str) -> None:
    assert refusal(url) == "does not begin with https://"


WITH_USER = {
    "user": "https://user@vendor.example/",
    "user and password": "https://user:secret@vendor.example/",
    "empty user": "https://@vendor.example/",
    "name as user": "https://vendor.example@127.0.0.1/",
    "name and port as user": "https://vendor.example:443@127.0.0.1/",
    "encoded at": "https://vendor.example%40@127.0.0.1/",
    "two": "https://a@vendor.example@127.0.0.1/",
}


@pytest.mark.parametrize("url", WITH_USER.values(), ids=WITH_USER)
def test_a_url_names_no_user(url: str) -> None:
    assert refusal(url) == "names a user"


@pytest.mark.parametrize(
    "url",
    ["https://vendor.example/#a", "https://vendor.example#", "https://127.0.0.1#@vendor.example/"],
    ids=["fragment", "empty fragment", "address before a fragment"],
)
def test_a_url_has_no_fragment(url: str) -> None:
    assert refusal(url) == "has a fragment"


@pytest.mark.parametrize("authority", ["vendor.example%2e", "127.0.0.1%2f.vendor.example", "%3127.0.0.1"])
def test_a_host_is_not_percent_encoded(authority: str) -> None:
    assert refusal(f"https://{authority}/") == "does not name a public host by its full name: addresses are not called"


def test_a_url_has_2048_characters_at_most() -> None:
    longest = "https://vendor.example/".ljust(2048, "a")
    assert ANYWHERE.read(longest).url == longest.replace(".example/", ".example:443/")
    assert refusal(longest + "a") == "is longer than 2048 characters"


@pytest.mark.parametrize(
    "host",
    [
        "printer.local",
        "vendor.localhost",
        "metadata.google.internal",
        "vault.internal",
        "VAULT.INTERNAL",
        "router.home.arpa",
        "app.vault.azure.net",
        "vault.azure.net",
        "APP.Vault.Azure.NET",
        "app.privatelink.vaultcore.azure.net",
        "app.vault.azure.cn",
        "app.vault.usgovcloudapi.net",
        "app.vault.microsoftazure.de",
        "app.managedhsm.azure.net",
        "app.table.core.windows.net",
        "app.blob.core.windows.net",
        "app-secondary.queue.core.windows.net",
        "app.privatelink.table.core.windows.net",
        "app.table.core.chinacloudapi.cn",
        "app.table.core.usgovcloudapi.net",
        "app.table.core.cloudapi.de",
        "app.z01.table.storage.azure.net",
    ],
)
def test_names_that_lead_inwards_and_stores_of_azure_are_not_called(host: str) -> None:
    assert refusal(f"https://{host}/") == "names a host that the vault does not call"


@pytest.mark.parametrize(
    "host", ["notlocal.example", "vendor-vault.azure.net", "vault.azure.net.example", "local.example"]
)
def test_names_that_only_look_like_those_are_called(host: str) -> None:
    assert ANYWHERE.read(f"https://{host}/").host == host


def test_the_apps_own_hosts_are_not_called_at_any_port() -> None:
    own = Destinations(ports=frozenset({443, 8443}), own=frozenset({Endpoint.of("https://Tables.Own.example:8443/x")}))
    for url in ("https://tables.own.example/", "https://TABLES.own.example:8443/"):
        assert refusal(url, own) == "names a host that the vault does not call"
    assert own.read("https://other.own.example:8443/").port == 8443


@pytest.mark.parametrize("port", [22, 80, 444, 8443, 65535, 65536, 99999])
def test_a_port_that_the_operator_did_not_allow_is_not_called(port: int) -> None:
    assert (
        refusal(f"https://vendor.example:{port}/")
        == "has a port that the operator does not allow; leave it out for 443"
    )


CALLED = {
    "bare": ("https://vendor.example", "https://vendor.example:443/"),
    "path": ("https://vendor.example/check", "https://vendor.example:443/check"),
    "upper case": ("HTTPS://Vendor.EXAMPLE/Check", "https://vendor.example:443/Check"),
    "port": ("https://vendor.example:443/check", "https://vendor.example:443/check"),
    "query": ("https://vendor.example?a=1&b=%20+", "https://vendor.example:443/?a=1&b=%20+"),
    "question mark in the query": ("https://vendor.example/a?b?c", "https://vendor.example:443/a?b?c"),
    "encoded path": ("https://vendor.example/a%2Fb/../c", "https://vendor.example:443/a%2Fb/../c"),
    "address in the path": ("https://vendor.example/127.0.0.1", "https://vendor.example:443/127.0.0.1"),
    "user in the path": ("https://vendor.example/@a:b", "https://vendor.example:443/@a:b"),
    "two slashes": ("https://vendor.example//127.0.0.1/", "https://vendor.example:443//127.0.0.1/"),
    "digits in a label": ("https://127.0.0.1.vendor.example", "https://127.0.0.1.vendor.example:443/"),
    "hyphens": ("https://a--b-c.vendor.example", "https://a--b-c.vendor.example:443/"),
    "punycode": ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example:443/"),
    "punycode that older rules lack": ("https://xn--strae-oqa.example", "https://xn--strae-oqa.example:443/"),
    "punycode at the end": ("https://vendor.xn--p1ai", "https://vendor.xn--p1ai:443/"),
}


@pytest.mark.parametrize(("url", "called"), CALLED.values(), ids=CALLED)
def test_other_urls_are_called_in_their_one_spelling(url: str, called: str) -> None:
    assert ANYWHERE.read(url).url == called


def test_what_a_url_asks_for_is_in_no_log() -> None:
    assert "token" not in repr(ANYWHERE.read("https://vendor.example/token"))


@given(st.text(max_size=80) | st.from_regex(r"https?://[\x00-\x7f]{0,40}", fullmatch=True))
def test_no_text_does_more_than_be_refused(url: str) -> None:
    try:
        destination = PRIVATE.read(url)
    except DestinationRefused:
        return
    assert PRIVATE.read(destination.url) == destination


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7073/check",
        "http://127.0.0.1:80/check",
        "https://127.0.0.1:443/check",
        "https://10.20.30.40:8443/check",
        "http://[fd00:1::5]:65535/check",
    ],
)
def test_an_address_of_the_operators_networks_is_called_over_http_and_at_any_port(url: str) -> None:
    destination = PRIVATE.read(url)
    assert destination.url == url
    assert PRIVATE.permits(ip_address(destination.host), destination.port)


def test_an_address_that_embeds_one_of_the_operators_is_called() -> None:
    assert PRIVATE.read("http://[::ffff:127.0.0.1]/").host == str(ip_address("::ffff:7f00:1"))
    assert (
        refusal("http://[::ffff:192.168.0.1]/", PRIVATE)
        == "does not name a public host by its full name: addresses are not called"
    )


@pytest.mark.parametrize(
    "host",
    [
        "10.21.0.1",
        "192.168.0.1",
        "93.184.216.34",
        "[::1]",
        "[fd00:2::1]",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
    ],
)
def test_other_addresses_and_other_spellings_are_not_called_beside_the_operators_networks(host: str) -> None:
    for url in (f"https://{host}/", f"https://{host}:7073/"):
        assert refusal(url, PRIVATE) == "does not name a public host by its full name: addresses are not called"


def test_a_name_needs_https_and_an_allowed_port_wherever_it_leads() -> None:
    assert refusal("http://vendor.example/", PRIVATE) == "does not begin with https://"
    assert (
        refusal("https://vendor.example:7073/", PRIVATE)
        == "has a port that the operator does not allow; leave it out for 443"
    )
    assert PRIVATE.permits(ip_address("10.20.0.1"), 443)


def test_a_port_beyond_the_last_one_is_not_called() -> None:
    assert refusal("http://127.0.0.1:65536/", PRIVATE) == "names a host that the vault does not call"


@pytest.mark.parametrize(
    "own", ["http://127.0.0.1:41056/msi/token", "http://localhost:41056/msi", "http://[::1]:41056/"]
)
def test_the_apps_own_endpoints_on_this_machine_are_not_called_by_any_of_its_addresses(own: str) -> None:
    loopback = Destinations(
        networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")), own=frozenset({Endpoint.of(own)})
    )
    for host in ("127.0.0.1", "127.0.0.9", "[::1]", "[::ffff:127.0.0.1]"):
        assert refusal(f"http://{host}:41056/", loopback) == "names a host that the vault does not call"
        assert loopback.read(f"http://{host}:7073/").port == 7073
    assert not loopback.permits(ip_address("64:ff9b::7f00:1"), 41056)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://app.example", Endpoint("app.example", 443)),
        ("http://app.example./x", Endpoint("app.example", 80)),
        ("http://localhost:8081", Endpoint("127.0.0.1", 8081)),
        ("http://[::1]:8081", Endpoint("::1", 8081)),
    ],
)
def test_an_endpoint_is_the_host_and_port_of_its_url(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.of(url) == endpoint
