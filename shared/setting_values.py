"""What the values of settings may look like: types that check themselves, with an error that says what to write."""

import ipaddress
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from shared.launcher_url import LauncherUrl
from shared.price import Price

LEAST_TILE, LARGEST_TILE = 64, 8192
"""Pixels of a tile's side that may be asked for."""
_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")  # as it is looked up: what has other letters begins with xn--
_NO_PATH = ("'", "?", "\n")  # ultralytics strips quotes, and takes what follows a question mark for a query


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets, or the port; its words may repeat the address
        whole = False
    if not whole or any(map(str.isspace, value)) or not value.isprintable():
        raise ValueError("must be an address like http://host:port")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value.rstrip("/")


def _header_text(text: str) -> str:
    """Clients and servers disagree about other characters, and cut off spaces around a header's value."""
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise ValueError("must be printable ASCII characters, without a space or line break at either end")
    return text


def _header_secret(secret: SecretStr) -> SecretStr:
    _header_text(secret.get_secret_value())
    return secret


def _no_colon(name: str) -> str:
    if ":" in name:
        raise ValueError("must not hold a colon: Basic auth has one between user and password")
    return name


def _known_launcher(address: str) -> str:
    LauncherUrl.parse(address)
    return address


def _price(text: str) -> str:
    return str(Price.parse(text))


def _ultralytics_path(path: str) -> str:
    for sign in _NO_PATH:
        if sign in path:
            raise ValueError(f"ultralytics cannot open files whose path holds {sign}: take another folder")
    return path


def _some_weights(names: str) -> str:
    if not names.replace(",", "").strip():
        raise ValueError("name at least one file")
    return names


def _tiles(written: str) -> str:
    if written in ("auto", "off") or (written.isdecimal() and LEAST_TILE <= int(written[:9]) <= LARGEST_TILE):
        return written
    raise ValueError(f"must be auto, off, or the pixels of a tile's side, from {LEAST_TILE} to {LARGEST_TILE}")


def _comma_separated(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _well_formed_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        try:
            ipaddress.ip_network(host.strip("[]"))
        except ValueError as error:
            if not _HOST_NAME.fullmatch(host):
                said = f" ({error})" if "has host bits set" in str(error) else ""
                raise ValueError(
                    f"{host[:60]!r} is no host name, address or network{said}: write minio or 10.0.0.0/8, without "
                    "scheme, port, path or *"
                ) from error
    return hosts


def _secret_address(secret: SecretStr) -> SecretStr:
    _web_address(secret.get_secret_value())
    return secret


WebAddress = Annotated[str, BeforeValidator(_web_address)]
"""An http or https URL without credentials, and without a `/` at its end."""
SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
"""An http or https URL that whoever knows it may use, with whatever path and query it has."""
HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]
"""A secret that is sent in a header."""
UserName = Annotated[str, AfterValidator(_header_text), AfterValidator(_no_colon)]
"""The user of Basic auth."""
LauncherAddress = Annotated[str, AfterValidator(_known_launcher)]
"""As `shared.launcher_url` reads it."""
PriceAnHour = Annotated[str, AfterValidator(_price)]
"""As `shared.price` reads it."""
UltralyticsPath = Annotated[str, AfterValidator(_ultralytics_path)]
"""A path that ultralytics can open."""
WeightsNames = Annotated[str, AfterValidator(_ultralytics_path), AfterValidator(_some_weights)]
"""Names or files of weights, separated by commas; at least one."""
TilesAsked = Annotated[str, AfterValidator(_tiles)]
"""auto, off, or a number of pixels."""
HostNames = Annotated[tuple[str, ...], BeforeValidator(_comma_separated), AfterValidator(_well_formed_hosts)]
"""Names, addresses and networks of hosts, separated by commas."""
