"""Which URLs and addresses the vault calls: rules about text and numbers; nothing here looks up or connects.

A URL that is called begins with `https://`, names a host of at least two labels in ASCII, and has an allowed port. A
name beyond ASCII is written in punycode (RFC 5891 §2.3.2.1); which of these are registered is for the DNS to say.
An address that is called is public, and so is every IPv4 address that it embeds. The operator may allow networks:
their addresses are called too, also when the URL writes them down, then on any port and also over `http`. A tenant
allows nothing.

Python's `is_global` is not asked: it differs between versions, and holds for addresses that lead inwards. Sources:
IANA's registries of special-purpose IPv4 and IPv6 addresses (RFC 6890), and the RFCs named below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from vault_core.outbound import MAX_URL, DestinationRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HTTPS_PORT = 443
_DEFAULT_PORTS = {"http": 80, "https": HTTPS_PORT}

_TOO_LONG = f"is longer than {MAX_URL} characters"
_NOT_URL_TEXT = "has characters that a URL has not; write names in punycode and percent-encode the rest"
_NOT_HTTPS = "does not begin with https://"
_HAS_USER = "names a user"
_HAS_FRAGMENT = "has a fragment"
_NOT_NAME = "does not name a public host by its full name: addresses are not called"
_BAD_PORT = "has a port that the operator does not allow; leave it out for 443"
_NOT_CALLED = "names a host that the vault does not call"

_URL_TEXT = re.compile(r"(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=#]|%[0-9A-Fa-f]{2})*")  # RFC 3986 §2
_PARTS = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<target>[^\[\]]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?=[a-z]){_LABEL}")  # no address, however spelled, ends in a label like this
_MAX_NAME = 253

_INWARD_SUFFIXES = ("local", "localhost", "internal", "home.arpa")
_STORE_SUFFIXES = (
    *(
        f"{service}.{cloud}"
        for service in ("vault", "vaultcore", "managedhsm")
        for cloud in ("azure.net", "azure.cn", "usgovcloudapi.net", "microsoftazure.de")
    ),
    *(f"core.{cloud}" for cloud in ("windows.net", "chinacloudapi.cn", "usgovcloudapi.net", "cloudapi.de")),
    "storage.azure.net",
)
"""Key vaults and storage of Azure's clouds: no vendor answers there, and the vault's own are among them."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_NEVER = _networks("0.0.0.0/32", "::/128", "168.63.129.16/32", "169.254.169.254/32")
"""This very machine, the host it runs on, and the instance metadata: no operator's network opens them."""

_SPECIAL_IPV4 = _networks(
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # shared by carriers
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # the host of an Azure machine
    "169.254.0.0/16",  # link-local, instance metadata
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # unique local, link-local, site-local, multicast, SRv6 … are all outside
_SPECIAL_IPV6 = _networks(
    "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking …
    "2001:db8::/32",  # documentation
    "3fff::/20",  # documentation
)

_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_IPV4_BITS = 2**32 - 1
_EMBEDDED_IPV4: tuple[tuple[IPv6Network, int, int], ...] = (
    (IPv6Network("::/96"), 0, 0),  # IPv4-compatible: RFC 4291 §2.5.5.1
    (IPv6Network("::ffff:0:0/96"), 0, 0),  # IPv4-mapped: RFC 4291 §2.5.5.2
    (IPv6Network("64:ff9b::/96"), 0, 0),  # NAT64: RFC 6052 §2.1
    (_LOCAL_NAT64, 0, 0),
    (IPv6Network("2002::/16"), 80, 0),  # 6to4: RFC 3056 §2
    (IPv6Network("2001::/32"), 64, 0),  # the server of Teredo: RFC 4380 §4
    (IPv6Network("2001::/32"), 0, _IPV4_BITS),  # its client, every bit of it inverted
)
"""Where an IPv6 address holds an IPv4 address: how many bits stand to its right, and which of its own are inverted."""


def read_address(text: str) -> Address | None:
    """Return the address that the text is, or None when it is none, or one of a single link."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def stands_for(address: Address) -> tuple[Address, ...]:
    """Return where packets to the address may end: the IPv4 addresses that it embeds, or else itself.

    How a network translates what is under the local prefix of NAT64 is its own affair, so such an address also
    stands for itself.
    """
    if isinstance(address, IPv4Address) or address in (IPv6Address("::"), IPv6Address("::1")):
        return (address,)
    embedded = tuple(
        IPv4Address(int(address) >> right & _IPV4_BITS ^ inverted)
        for network, right, inverted in _EMBEDDED_IPV4
        if address in network
    )
    return embedded if embedded and address not in _LOCAL_NAT64 else (address, *embedded)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not _is_in(address, _SPECIAL_IPV4)
    return address in _GLOBAL_UNICAST and not _is_in(address, _SPECIAL_IPV6)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and port of the app's own. `localhost` is every loopback address."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Return the endpoint that the URL leads to."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        return cls("127.0.0.1" if host == "localhost" else host, parts.port or _DEFAULT_PORTS.get(parts.scheme, 0))

    def is_at(self, address: Address) -> bool:
        """Return whether the endpoint's host is this address, as far as its text tells."""
        own = read_address(self.host)
        return own is not None and any(
            one == address or (one.is_loopback and address.is_loopback) for one in stands_for(own)
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads. A URL is taken apart once, and what is called is put together from these parts."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def url(self) -> str:
        """The URL in its one spelling."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"


@dataclass(frozen=True, slots=True)
class Destinations:
    """What may be called: the operator's networks and ports, and the app's own endpoints, which may not."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({HTTPS_PORT})
    own: frozenset[Endpoint] = frozenset()

    def read(self, url: str) -> Destination:
        """Return where the URL leads; `DestinationRefused` when its text alone says that it is not called."""
        parts = _PARTS.fullmatch(_url_text(url))
        if parts is None:
            raise DestinationRefused(_NOT_HTTPS)
        authority = _AUTHORITY.fullmatch(parts["authority"])
        if authority is None:
            raise DestinationRefused(_HAS_USER if "@" in parts["authority"] else _NOT_NAME)
        scheme, host = parts["scheme"].lower(), authority["host"].lower()
        port = int(authority["port"] or _DEFAULT_PORTS[scheme])
        if (address := read_address(host.strip("[]"))) is not None:
            host = self._checked_address(address, port)
        else:
            self._check_name(scheme, host, port)
        target = parts["target"]
        return Destination(scheme, host, port, target if target.startswith("/") else f"/{target}")

    def permits(self, address: Address, port: int) -> bool:
        """Return whether the address may be connected to at the port, whatever name led to it."""
        meant = stands_for(address)
        return not any(_is_in(one, _NEVER) or self._is_own(one, port) for one in meant) and all(
            self._lists(one) or _is_public(one) for one in meant
        )

    def _checked_address(self, address: Address, port: int) -> str:
        if not all(self._lists(one) for one in stands_for(address)):
            raise DestinationRefused(_NOT_NAME)
        if port > 65535 or not self.permits(address, port):
            raise DestinationRefused(_NOT_CALLED)
        return str(address)

    def _check_name(self, scheme: str, host: str, port: int) -> None:
        if scheme != "https":
            raise DestinationRefused(_NOT_HTTPS)
        if len(host) > _MAX_NAME or not _NAME.fullmatch(host) or not all(map(_is_label, host.split("."))):
            raise DestinationRefused(_NOT_NAME)
        suffixes = (*_INWARD_SUFFIXES, *_STORE_SUFFIXES)
        if any(f".{host}".endswith(f".{suffix}") for suffix in suffixes) or host in {own.host for own in self.own}:
            raise DestinationRefused(_NOT_CALLED)
        if port not in self.ports:
            raise DestinationRefused(_BAD_PORT)

    def _lists(self, address: Address) -> bool:
        return _is_in(address, self.networks)

    def _is_own(self, address: Address, port: int) -> bool:
        return any(own.is_at(address) and (own.port == port or not self._lists(address)) for own in self.own)


def _url_text(url: str) -> str:
    if len(url) > MAX_URL:
        raise DestinationRefused(_TOO_LONG)
    if not _URL_TEXT.fullmatch(url):
        raise DestinationRefused(_NOT_URL_TEXT)
    if "#" in url:
        raise DestinationRefused(_HAS_FRAGMENT)
    return url


def _is_label(label: str) -> bool:
    """Return whether a label that claims to be punycode is: something beyond ASCII, in the one way to write it."""
    if not label.startswith("xn--"):
        return True
    written = label.removeprefix("xn--").encode()
    try:
        name = written.decode("punycode")
        return not name.isascii() and name.encode("punycode") == written
    except UnicodeError:
        return False
