"""A name server for one network namespace, as Docker runs one at 127.0.0.11 in each container: answers A
queries from a hosts file, which it reads again for every query.

    python names.py HOSTS
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

__all__ = ["answer", "lookup", "main"]

_A, _IN, _TTL_S = 1, 1, 1


def lookup(hosts: str, name: str) -> list[str]:
    """The addresses of a name in the text of a hosts file."""
    lines = (line.split() for line in hosts.splitlines())
    return [words[0] for words in lines if name in words[1:] and ":" not in words[0]]


def answer(query: bytes, hosts: str) -> bytes:
    """The response to one query. Raises `IndexError` or `struct.error` if it is none."""
    at, labels = 12, []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind, _ = struct.unpack_from(">HH", query, at + 1)
    question = query[12 : at + 5]
    found = lookup(hosts, ".".join(labels).lower())
    addresses = found if kind == _A else []
    flags = 0x8580 if found else 0x8583  # NXDOMAIN
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    records = b"".join(
        struct.pack(">HHHIH", 0xC00C, _A, _IN, _TTL_S, 4) + socket.inet_aton(each)
        for each in addresses
    )
    return head + question + records


def main() -> None:
    hosts = Path(sys.argv[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.11", 53))
        while True:
            query, sender = server.recvfrom(4096)
            try:
                server.sendto(answer(query, hosts.read_text()), sender)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue


if __name__ == "__main__":
    main()
