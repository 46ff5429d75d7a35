"""`X-Forwarded-*` headers, believed only from the proxies that a setting names.

Anybody can send `X-Forwarded-*`: without the setting, what counts is the connection itself.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from aiohttp import web

from penstock.errors import Rejected

__all__ = ["PROXIES", "Proxies", "proxies_of"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The trusted proxies: addresses or networks, comma-separated, such as `127.0.0.1,10.0.0.0/8`.

    `unix` stands for whoever connects to a unix socket. Raises `Rejected` for what is no network.
    """

    def __init__(self, text: str = "") -> None:
        names = {each.strip() for each in text.split(",")} - {""}
        self._trusts_unix = "unix" in names
        self._networks = [_network(name) for name in sorted(names - {"unix"})]

    def trusts(self, address: str) -> bool:
        """Whether what comes from this address is a trusted proxy's."""
        if not address:
            return self._trusts_unix
        try:
            ip = _ip(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def client(self, request: web.Request) -> str:
        """The address that the request came from first, as far as trusted proxies tell."""
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
        """`http` or `https`: what the browser speaks."""
        return self._told(request, "X-Forwarded-Proto") or request.scheme

    def host(self, request: web.Request) -> str:
        """Host and perhaps port, as the browser asked for them; '' if it does not say or says two."""
        hosts = request.headers.getall("Host", ())
        return self._told(request, "X-Forwarded-Host") or (hosts[0] if len(hosts) == 1 else "")

    def _told(self, request: web.Request, header: str) -> str:
        if not self.trusts(request.remote or ""):
            return ""
        # Each proxy appends what it saw: the first is the browser's.
        return request.headers.get(header, "").partition(",")[0].strip()


PROXIES = web.AppKey("proxies", Proxies)
"""The trusted proxies of an application; none if it does not say."""

_NONE = Proxies()


def proxies_of(request: web.Request) -> Proxies:
    """The trusted proxies of the application that answers this request."""
    return request.config_dict.get(PROXIES, _NONE)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; one of IPv4 that is written as IPv6 is the former. Raises `ValueError`."""
    ip = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Rejected(
            f"PENSTOCK_TRUSTED_PROXIES names {text!r}, which is no address or network",
            code="bad_settings",
            hint="List addresses or networks, such as 127.0.0.1,10.0.0.0/8, or unix.",
        ) from None
