"""Row S16: whatever a subscriber writes as a URL, nothing inside is reached."""

import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from fileflux.webhooks.egress import (
    Egress,
    EgressPolicy,
    EgressRefused,
    is_public,
    parse_networks,
    parse_url,
)

INSIDE_4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "192.88.99.0/24",
]
INSIDE_6 = [
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "3fff::/20",
    "5f00::/16",
]
OPEN = EgressPolicy()


async def reach(url: str, *answers: str, policy: EgressPolicy = OPEN) -> tuple[str, ...]:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return answers

    _, addresses = await Egress(policy, lookup).resolve(url)
    return addresses


async def test_five_thousand_urls_to_the_inside_are_refused_and_none_passes() -> None:
    rng = random.Random(16)
    count = 0
    for text in INSIDE_4 + INSIDE_6:
        network = ip_network(text)
        for _ in range(160):
            number = int(network.network_address) + rng.randrange(network.num_addresses)
            address = IPv4Address(number) if network.version == 4 else IPv6Address(number)
            assert not is_public(address), address
            literal = f"[{address}]" if network.version == 6 else str(address)
            for url, answers in (
                (f"https://{literal}/", ()),
                ("https://a.example/", (str(address),)),
            ):
                with pytest.raises(EgressRefused):
                    await reach(url, *answers)
                count += 1
    assert count >= 5_000


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://[::1%25eth0]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com#@127.0.0.1/",
        "https://example.com\\@127.0.0.1/",
        "https://127。0。0。1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://loc\u00adalhost/",
        "https://exa mple.com/",
        "https://example.com\n/",
        "https://%31%32%37.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "https:///x",
        "https://",
        "https://example.com:99999/",
        "https://-a.example/",
        "https://" + "a" * 300 + ".example/",
        "https://example.com/" + "a" * 3_000,
    ],
)
async def test_odd_spellings_are_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        await reach(url, "127.0.0.1")


async def test_a_name_with_one_inner_address_is_refused_whole() -> None:
    with pytest.raises(EgressRefused):
        await reach("https://a.example/", "93.184.216.34", "10.0.0.1")
    assert await reach("https://a.example/", "93.184.216.34") == ("93.184.216.34",)


@pytest.mark.parametrize("port", [1, 22, 25, 5432, 6379, 9092, 9000, 26257])
async def test_ports_of_other_protocols_are_refused(port: int) -> None:
    with pytest.raises(EgressRefused):
        await reach(f"https://a.example:{port}/", "93.184.216.34")


async def test_http_goes_nowhere_unless_it_is_allowed() -> None:
    with pytest.raises(EgressRefused):
        await reach("http://a.example/", "93.184.216.34")
    assert await reach(
        "http://a.example/", "93.184.216.34", policy=EgressPolicy(allow_http=True)
    ) == ("93.184.216.34",)


async def test_a_network_that_is_allowed_is_reached_by_http_on_any_port() -> None:
    policy = EgressPolicy(allowed=parse_networks("127.0.0.0/8, ::1/128"))
    assert await reach("http://127.0.0.1:5000/", policy=policy) == ("127.0.0.1",)
    assert await reach("http://[::1]:5000/", policy=policy) == ("::1",)
    for url in ("http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://2130706433/"):
        with pytest.raises(EgressRefused):
            await reach(url, policy=policy)


async def test_usual_urls_pass() -> None:
    for url in (
        "https://example.com/hook?x=1",
        "https://EXAMPLE.com:8443/",
        "https://xn--bcher-kva.example/",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]/",
        "https://a_b.example.com./x",
    ):
        parse_url(url)
        await reach(url, "93.184.216.34")


async def test_a_refusal_does_not_tell_what_a_name_resolves_to() -> None:
    with pytest.raises(EgressRefused) as refused:
        await reach("https://inner.example/", "10.11.12.13")
    assert "10.11" not in str(refused.value)
