"""Sockets that fail once the other end has vanished."""

from __future__ import annotations

import socket
import sys

import pytest
from aiohttp import web

from penstock.errors import Transient
from penstock_common.process.sockets import UNANSWERED_S, notice_vanished_peer
from penstock_storage.clickhouse import client
from penstock_storage.connect import open_points

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options are Linux'")


def user_timeout_ms(end: socket.socket) -> int:
    return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_tcp_asks_and_unix_sockets_need_not() -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        notice_vanished_peer(tcp)
        notice_vanished_peer(unix)
        notice_vanished_peer(None)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert user_timeout_ms(tcp) == UNANSWERED_S * 1000


async def test_connections_to_the_store_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def noted(end: socket.socket) -> None:
        notice_vanished_peer(end)
        made.append(end)

    monkeypatch.setattr(client, "notice_vanished_peer", noted)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    points = open_points(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        with pytest.raises(Transient):
            await points.ping()
        assert [user_timeout_ms(each) for each in made] == [UNANSWERED_S * 1000]
    finally:
        await points.close()
        await runner.cleanup()
