"""Listening sockets that work in IPv4, IPv6 and dual-stack networks alike."""

from __future__ import annotations

import errno
import socket

__all__ = ["ANY_ADDRESS", "listening_socket", "reachable_at"]

ANY_ADDRESS = "::"
"""All addresses of this host, of both families."""

_BACKLOG = 4096
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def listening_socket(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """A TCP socket that listens on this address; port 0 selects a free one.

    `::` also accepts IPv4, and means IPv4 alone where the kernel has no IPv6. With `shares_port`,
    several processes may listen on the same port. Raises OSError.
    """
    try:
        return _listen(host, port, shares_port)
    except OSError as error:
        if host != ANY_ADDRESS or error.errno not in _NO_IPV6:
            raise
        return _listen("0.0.0.0", port, shares_port)  # noqa: S104


def reachable_at(host: str) -> str:
    """The address, as URLs write it, at which this host reaches a socket that listens on `host`.

    A pod without IPv6 has no `::1`; one without IPv4 still has 127.0.0.1.
    """
    address = "127.0.0.1" if host in ("0.0.0.0", ANY_ADDRESS) else host  # noqa: S104
    return f"[{address}]" if ":" in address else address


def _listen(host: str, port: int, shares_port: bool) -> socket.socket:
    kinds = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = kinds[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # asyncio and uvloop would set it to 1.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
