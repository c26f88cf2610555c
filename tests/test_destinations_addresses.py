"""Which addresses are called: every special range by its ends, and every way to hide one address in another."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vault_core.destinations import Address, Destinations, Endpoint, read_address, stands_for

ANYWHERE = Destinations()

SPECIAL = {
    "this network": ("0.0.0.0", "0.255.255.255"),  # noqa: S104 - nothing is bound
    "private 10": ("10.0.0.0", "10.255.255.255"),
    "shared by carriers": ("100.64.0.0", "100.127.255.255"),
    "loopback": ("127.0.0.0", "127.255.255.255"),
    "host of an Azure machine": ("168.63.129.16", "168.63.129.16"),
    "link-local": ("169.254.0.0", "169.254.255.255"),
    "metadata": ("169.254.169.254", "169.254.169.254"),
    "private 172": ("172.16.0.0", "172.31.255.255"),
    "protocol assignments": ("192.0.0.0", "192.0.0.255"),
    "documentation 1": ("192.0.2.0", "192.0.2.255"),
    "6to4 relays": ("192.88.99.0", "192.88.99.255"),
    "private 192": ("192.168.0.0", "192.168.255.255"),
    "benchmarking": ("198.18.0.0", "198.19.255.255"),
    "documentation 2": ("198.51.100.0", "198.51.100.255"),
    "documentation 3": ("203.0.113.0", "203.0.113.255"),
    "multicast": ("224.0.0.0", "239.255.255.255"),
    "reserved": ("240.0.0.0", "255.255.255.254"),
    "broadcast": ("255.255.255.255", "255.255.255.255"),
    "any v6": ("::", "::"),
    "loopback v6": ("::1", "::1"),
    "compatible loopback": ("::127.0.0.0", "::127.255.255.255"),
    "mapped private": ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
    "mapped metadata": ("::ffff:169.254.169.254", "::ffff:169.254.169.254"),
    "mapped host of an Azure machine": ("::ffff:168.63.129.16", "::ffff:168.63.129.16"),
    "translated": ("::ffff:0:0:0", "::ffff:0:ffff:ffff"),
    "NAT64 of loopback": ("64:ff9b::127.0.0.0", "64:ff9b::127.255.255.255"),
    "NAT64 of metadata": ("64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
    "NAT64 of multicast": ("64:ff9b::224.0.0.0", "64:ff9b::239.255.255.255"),
    "beside NAT64": ("64:ff9b::1:0:0", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff"),
    "local NAT64": ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    "local NAT64 of a public address": ("64:ff9b:1::8.8.8.8", "64:ff9b:1::8.8.8.8"),
    "local NAT64 of loopback by a prefix of 48 bits": ("64:ff9b:1:7f00:0:100::", "64:ff9b:1:7f00:0:100::"),
    "discard": ("100::", "100::ffff:ffff:ffff:ffff"),
    "dummy": ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
    "Teredo of private server": ("2001:0:a00::", "2001:0:aff:ffff:ffff:ffff:ffff:ffff"),
    "Teredo of loopback": ("2001:0:808:808::80ff:fffe", "2001:0:808:808:ffff:ffff:80ff:fffe"),
    "benchmarking v6": ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    "AMT": ("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff"),
    "ORCHID": ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"),
    "ORCHIDv2": ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
    "remote id of drones": ("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"),
    "protocol assignments v6": ("2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "documentation v6": ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    "6to4 of private": ("2002:a00::", "2002:aff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "6to4 of loopback": ("2002:7f00:1::", "2002:7f00:1:ffff:ffff:ffff:ffff:ffff"),
    "6to4 of metadata": ("2002:a9fe:a9fe::", "2002:a9fe:a9fe:ffff:ffff:ffff:ffff:ffff"),
    "larger documentation v6": ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "unallocated below": ("200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "unallocated above": ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "SRv6": ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "unique local": ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "metadata of another cloud": ("fd00:ec2::254", "fd00:ec2::254"),
    "link-local v6": ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "site-local": ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "multicast v6": ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
}


@pytest.mark.parametrize(("first", "last"), SPECIAL.values(), ids=SPECIAL)
def test_no_address_of_a_special_range_is_called(first: str, last: str) -> None:
    low, high = ip_address(first), ip_address(last)
    middle = type(low)((int(low) + int(high)) // 2)
    for address in (low, middle, high):
        assert not ANYWHERE.permits(address, 443)


@pytest.mark.parametrize(
    "address",
    [
        *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
        *("168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
        *("191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.88.98.255", "192.88.100.0"),
        *("192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0"),
        *("203.0.112.255", "203.0.114.0", "223.255.255.255", "93.184.216.34"),
        *("2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2606:4700:4700::1111", "3ffe:ffff::"),
        *("3fff:1000::", "2001:0:808:808::f7f7:f7f7"),
    ],
)
def test_the_addresses_beside_special_ranges_are_called(address: str) -> None:
    assert ANYWHERE.permits(ip_address(address), 443)


EMBEDDINGS: dict[str, Callable[[int], int]] = {
    "compatible": lambda bits: bits,
    "mapped": lambda bits: 0xFFFF << 32 | bits,
    "NAT64": lambda bits: 0x64FF9B << 96 | bits,
    "6to4": lambda bits: 0x2002 << 112 | bits << 80 | 1,
    "server of Teredo": lambda bits: 0x20010000 << 96 | bits << 64 | 0x08080808 ^ 0xFFFFFFFF,
    "client of Teredo": lambda bits: 0x20010000 << 96 | 0x08080808 << 64 | bits ^ 0xFFFFFFFF,
}
IPV4 = st.ip_addresses(v=4) | st.sampled_from([end for ends in SPECIAL.values() for end in ends if "." in end]).filter(
    lambda text: ":" not in text
).map(IPv4Address)


@pytest.mark.parametrize("embed", EMBEDDINGS.values(), ids=EMBEDDINGS)
@given(address=IPV4)
@example(address=IPv4Address("8.8.8.8"))
@example(address=IPv4Address("168.63.129.16"))
def test_an_address_within_an_address_is_called_if_it_would_be_alone(
    embed: Callable[[int], int], address: IPv4Address
) -> None:
    outer = IPv6Address(embed(int(address)))
    for port in (443, 7073):
        assert ANYWHERE.permits(outer, port) == ANYWHERE.permits(address, port)


@given(IPV4)
def test_under_the_local_prefix_of_nat64_nothing_is_called(address: IPv4Address) -> None:
    assert not ANYWHERE.permits(IPv6Address(0x64FF9B0001 << 80 | int(address)), 443)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_no_address_that_embeds_none_is_called_if_python_knows_it_to_be_private(address: Address) -> None:
    assert address.is_global or not ANYWHERE.permits(address, 443) or stands_for(address) != (address,)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize("address", ["168.63.129.16", "169.254.169.254", "0.0.0.0", "::"])  # noqa: S104
def test_no_network_of_an_operator_opens_what_is_never_called(network: str, address: str) -> None:
    open_wide = Destinations(networks=(ip_network(network), ip_network("0.0.0.0/0"), ip_network("64:ff9b:1::/96")))
    for outer in {address, *(str(ip_address(number)) for number in embedded_in(address))}:
        assert not open_wide.permits(ip_address(outer), 443), outer


def embedded_in(address: str) -> list[int]:
    if ":" in address:
        return []
    bits = int(IPv4Address(address))
    return [*(embed(bits) for embed in list(EMBEDDINGS.values())[1:]), 0x64FF9B0001 << 80 | bits]


def test_an_own_address_beyond_the_operators_networks_is_not_called_at_any_port() -> None:
    own = Destinations(own=frozenset({Endpoint.of("http://20.30.40.50:8081/msi/token")}))
    assert not own.permits(ip_address("20.30.40.50"), 443)
    assert not own.permits(ip_address("2002:141e:2832::1"), 443)
    assert own.permits(ip_address("20.30.40.51"), 443)


@pytest.mark.parametrize(
    "text", ["", "vendor.example", "127.1", "0177.0.0.1", "fe80::1%eth0", "1.2.3.4%1", "\uff11.2.3.4"]
)
def test_other_texts_are_no_addresses(text: str) -> None:
    assert read_address(text) is None
