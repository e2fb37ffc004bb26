"""Rules for the network addresses that images may come from, and connections to exactly the addresses checked.

Task data is untrusted: anybody who can import tasks chooses the host. A name is resolved once, each of its addresses is
checked, and the socket connects to a checked address, so DNS rebinding does not help an attacker. Numeric host names
(`2130706433`, `0177.0.0.1`) are checked as the addresses that the resolver makes of them.
"""

import ipaddress
import socket
from collections.abc import Iterable

from shared.errors import ImageError
from shared.network.connections import MakeSocket, connect_to
from shared.network.resolver import Place, Resolve, Resolver, resolve

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.0/24",  # protocol assignments, Oracle Cloud's metadata; older Pythons lack this and the next one
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "64:ff9b:1::/48",  # local-use NAT64
        "fec0::/10",  # site-local
    )
)
"""Networks that are not public although ipaddress, in some version of Python, says that they are."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, multicast, reserved …

    An IPv6 address that embeds an IPv4 address is as public as that one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class AddressRules:
    """Allows public addresses, and the private ones that a setting names."""

    def __init__(
        self,
        allowed: Iterable[str] = (),
        *,
        origin: tuple[str, int] | None = None,
        resolve: Resolve = resolve,
        setting: str = "LABELLOOP_ALLOWED_PRIVATE_HOSTS",
        what: str = "images may come from there",
    ) -> None:
        """`allowed`: host names, addresses, networks. `origin`: Label Studio's host and port, always allowed.

        `setting` is where they are named, and `what` what it allows, for the message of a refusal.
        """
        self._hint = f"if {what}, name it in {setting}"
        self._resolver = Resolver(resolve)
        self._origin = origin
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(_name(entry))

    def connect(self, host: str, port: int, until: float, make_socket: MakeSocket) -> socket.socket:
        """A connected TCP socket, made by `make_socket(family)`. `until` (time.monotonic()) bounds it all.

        Raises ImageError("refused") if the host has no allowed address, and OSError if none of them can be reached.
        """
        return connect_to(host, self._checked(host, port, until), until, make_socket)

    def _checked(self, host: str, port: int, until: float) -> list[Place]:
        places = self._resolver.places(host, port, until)
        if (_name(host), port) == self._origin or _name(host) in self._names:
            return places
        allowed = [(family, place) for family, place in places if self._allows(str(place[0]))]
        if places and not allowed:
            raise ImageError(
                "refused",
                f"{host} is in a private or reserved network ({places[0][1][0]}): {self._hint}",
            )
        return allowed

    def _allows(self, text: str) -> bool:
        address: Address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return is_public(address) or any(address in network for network in self._networks)


def _name(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")
