"""What the tests of reverse proxies share: which there are, a user behind one, slow uploads, logins."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from support.reverse_proxies import KINDS, ReverseProxy
from support.through import Visitor
from support.up import Up, end_shipper

__all__ = [
    "ALL",
    "SETTINGS",
    "head_of",
    "log_in",
    "port_of",
    "request_of",
    "upload_slowly",
    "visiting",
]

SETTINGS = {"PENSTOCK_TRUSTED_PROXIES": "127.0.0.1"}
"""Of a `penstock up` behind a proxy."""

ALL = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(not shutil.which(kind), reason=f"{kind} is not installed"),
    )
    for kind in KINDS
]


def port_of(up: Up) -> int:
    return int(urlsplit(up.url).port or 0)


@contextmanager
def visiting(proxy: ReverseProxy, up: Up, folder: Path, root: str = "") -> Iterator[Visitor]:
    yield Visitor(f"{proxy.url}{root}", up.api_key, folder, proxy.ca_file)
    end_shipper(folder)


def upload_slowly(visitor: Visitor, proxy: ReverseProxy, project: str, run: str) -> None:
    """Upload a file in 13 s, and check that it arrived."""
    url = urlsplit(visitor.upload_url(project, run, "slow.bin"))
    pieces = [os.urandom(100_000) for _ in range(13)]
    with proxy.connect() as connection:
        connection.sendall(head_of("PUT", url.path, url.query, sum(map(len, pieces))))
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(1)  # the slowness is what is tested
        assert b" 200 " in connection.recv(100)
    assert visitor.download(project, run, "slow.bin") == b"".join(pieces)


def head_of(method: str, path: str, query: str, length: int) -> bytes:
    return (
        f"{method} {path}?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def log_in(
    visitor: Visitor, api_key: str, headers: dict[str, str]
) -> tuple[int, Message[str, str]]:
    body = json.dumps({"api_key": api_key}).encode()
    sent = {"Content-Type": "application/json", **headers}
    return request_of("POST", f"{visitor.url}/v1/session", visitor, sent, body)


def request_of(
    method: str, url: str, visitor: Visitor, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, Message[str, str]]:
    try:
        request = Request(url, body, headers, method=method)
        with urlopen(request, timeout=30, context=visitor.tls) as reply:
            return reply.status, reply.headers
    except HTTPError as error:
        error.close()
        return error.code, error.headers
