"""The name server of services that run without containers."""

from __future__ import annotations

import socket
import struct

import pytest
from benchmarks.compose.names import answer, lookup

HOSTS = "127.0.0.1 localhost\n10.89.1.2 redis\n10.89.1.3 gateway-0\n::1 redis\n"
A, AAAA = 1, 28


def query(name: str, kind: int = A) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, 1)


def parts(reply: bytes) -> tuple[int, int, int]:
    """Id, response code and number of answers."""
    number, flags, _, count = struct.unpack_from(">HHHH", reply)
    assert flags & 0x8000
    return number, flags & 0xF, count


def test_a_known_name_has_its_address() -> None:
    assert lookup(HOSTS, "redis") == ["10.89.1.2"]
    reply = answer(query("gateway-0"), HOSTS)
    assert parts(reply) == (7, 0, 1)
    assert socket.inet_ntoa(reply[-4:]) == "10.89.1.3"


def test_upper_case_means_the_same() -> None:
    assert parts(answer(query("Redis"), HOSTS)) == (7, 0, 1)


def test_a_known_name_has_no_other_kind_of_address() -> None:
    assert parts(answer(query("redis", AAAA), HOSTS)) == (7, 0, 0)


def test_an_unknown_name_does_not_exist() -> None:
    assert parts(answer(query("postgres"), HOSTS)) == (7, 3, 0)


def test_what_is_no_query_is_none() -> None:
    with pytest.raises((IndexError, struct.error)):
        answer(b"\0\1\1", HOSTS)
