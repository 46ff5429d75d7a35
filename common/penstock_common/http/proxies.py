"""`X-Forwarded-*` headers, trusted only from the proxies named in a setting.

Any client can send `X-Forwarded-*`: without the setting, only the connection itself counts.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from aiohttp import web

from penstock.command_codes import CommandCode
from penstock.errors import Rejected

__all__ = ["PROXIES", "Proxies", "proxies_of"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The trusted proxies: addresses or networks, comma-separated, such as `127.0.0.1,10.0.0.0/8`.

    `unix` stands for all clients of a unix socket. Raises `Rejected` for an invalid network.
    """

    def __init__(self, text: str = "") -> None:
        names = {each.strip() for each in text.split(",")} - {""}
        self._trusts_unix = "unix" in names
        self._networks = [_network(name) for name in sorted(names - {"unix"})]

    def trusts(self, address: str) -> bool:
        """Whether this address is a trusted proxy's."""
        if not address:
            return self._trusts_unix
        try:
            ip = _ip(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def client(self, request: web.Request) -> str:
        """The original client's address, according to trusted proxies."""
        address = request.remote or ""
        told = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for each in reversed(told):
            if not self.trusts(address):
                break
            with suppress(ValueError):
                address = str(_ip(each.strip()))
                continue
            break
        return address

    def scheme(self, request: web.Request) -> str:
        """`http` or `https`: the browser's scheme."""
        return self._told(request, "X-Forwarded-Proto") or request.scheme

    def host(self, request: web.Request) -> str:
        """Host and optional port of the browser's request; '' if there is none or more than one."""
        hosts = request.headers.getall("Host", ())
        return self._told(request, "X-Forwarded-Host") or (hosts[0] if len(hosts) == 1 else "")

    def _told(self, request: web.Request, header: str) -> str:
        if not self.trusts(request.remote or ""):
            return ""
        # Each proxy appends its own value: the first is the browser's.
        return request.headers.get(header, "").partition(",")[0].strip()


PROXIES = web.AppKey("proxies", Proxies)
"""The trusted proxies of an application; none by default."""

_NONE = Proxies()


def proxies_of(request: web.Request) -> Proxies:
    """The trusted proxies of the application that handles this request."""
    return request.config_dict.get(PROXIES, _NONE)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; an IPv4-mapped IPv6 address becomes IPv4. Raises `ValueError`."""
    ip = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Rejected(
            f"PENSTOCK_TRUSTED_PROXIES names {text!r}, which is not an address or network",
            code=CommandCode.BAD_SETTINGS,
            hint="List addresses or networks, such as 127.0.0.1,10.0.0.0/8, or unix.",
        ) from None
