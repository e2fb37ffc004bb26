"""Which addresses count as public, and which private ones can be allowed."""

import ipaddress
import socket
import time
from typing import Any

import pytest

from shared.errors import ImageError
from shared.media.addresses import AddressRules, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",  # metadata of most clouds
        "100.64.0.1",  # carrier-grade NAT
        "100.100.100.200",  # metadata of Alibaba Cloud
        "192.0.0.192",  # metadata of Oracle Cloud
        "168.63.129.16",  # Azure's host agent
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fd00:ec2::254",  # metadata of AWS
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b:1::1",
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "100.63.255.255"]
)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


class Sockets:
    """Records the address to connect to, and connects to none."""

    def __init__(self) -> None:
        self.connected: list[tuple[Any, ...]] = []

    def __call__(self, family: int) -> Any:
        return self

    def connect(self, place: tuple[Any, ...]) -> None:
        self.connected.append(place)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def setsockopt(self, *_: int) -> None: ...

    def close(self) -> None: ...


def connected(rules: AddressRules, host: str, port: int = 80) -> list[tuple[Any, ...]]:
    sockets = Sockets()
    rules.connect(host, port, time.monotonic() + 5.0, sockets)
    return sockets.connected


def rules(address: str, *allowed: str, origin: tuple[str, int] | None = None) -> AddressRules:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return AddressRules(allowed, origin=origin, resolve=lambda host, port: [(family, (address, port))])


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("fd12::1", "fd12::/16"),
        ("10.1.2.3", "minio"),
        ("10.1.2.3", "MinIO."),
        ("8.8.8.8", "10.0.0.0/8"),
    ],
)
def test_allowed(address: str, allowed: str) -> None:
    assert connected(rules(address, allowed), "Minio") == [(address, 80)]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", "10.1.2.4"),
        ("10.1.2.3", "192.168.0.0/16"),
        ("10.1.2.3", "other"),
        ("10.1.2.3", "minio.example"),
        ("10.1.2.3", "fd00::/8"),
    ],
)
def test_not_allowed(address: str, allowed: str) -> None:
    with pytest.raises(ImageError, match=r"minio.*10\.1\.2\.3.*LABELLOOP_ALLOWED_PRIVATE_HOSTS") as caught:
        connected(rules(address, allowed), "minio")
    assert caught.value.reason == "refused"


def test_label_studio_itself_is_allowed_at_its_port_only() -> None:
    own = rules("10.1.2.3", origin=("studio", 8080))
    assert connected(own, "Studio", 8080) == [("10.1.2.3", 8080)]
    with pytest.raises(ImageError):
        connected(own, "studio", 5432)
    with pytest.raises(ImageError):
        connected(own, "studio.evil.example", 8080)


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    class FirstFails(Sockets):
        def connect(self, place: tuple[Any, ...]) -> None:
            super().connect(place)
            if len(self.connected) == 1:
                raise ConnectionRefusedError

    places = [(socket.AF_INET, (address, 80)) for address in ("8.8.8.8", "10.0.0.1", "9.9.9.9")]
    sockets = FirstFails()
    AddressRules(resolve=lambda host, port: places).connect("host", 80, time.monotonic() + 5.0, sockets)
    assert [place[0] for place in sockets.connected] == ["8.8.8.8", "9.9.9.9"]
