"""Sockets that listen in every kind of network, and health pages on them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession

from penstock_common.http.exporter import metrics_server
from penstock_common.process.listening import listening_socket, reachable_at
from penstock_common.process.metrics import Metrics
from penstock_common.process.watchdog import Watchdog


def families(port: int) -> Iterator[str]:
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=5).close()
        except OSError:
            continue
        yield address


@pytest.mark.parametrize(
    ("host", "reached"), [("::", {"127.0.0.1", "::1"}), ("127.0.0.1", {"127.0.0.1"})]
)
def test_any_address_means_both_families(host: str, reached: set[str]) -> None:
    with closing(listening_socket(host, 0)) as listener:
        assert set(families(listener.getsockname()[1])) == reached


def test_any_address_is_ipv4_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = socket.getaddrinfo

    def without_ipv6(host: str, *rest: object, **more: object) -> object:
        if ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return whole(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("penstock_common.process.listening.socket.getaddrinfo", without_ipv6)
    with closing(listening_socket("::", 0)) as listener:
        assert listener.family == socket.AF_INET
    with pytest.raises(OSError, match="not supported"):
        listening_socket("::1", 0)


def test_a_port_is_shared_only_on_request() -> None:
    with closing(listening_socket("::", 0, shares_port=True)) as first:
        port = first.getsockname()[1]
        listening_socket("::", port, shares_port=True).close()
        with pytest.raises(OSError, match="in use"):
            listening_socket("::", port)


def test_a_url_names_an_address_that_every_pod_has() -> None:
    assert [reachable_at(each) for each in ("::", "0.0.0.0", "::1", "10.0.0.7")] == [  # noqa: S104
        "127.0.0.1", "127.0.0.1", "[::1]", "10.0.0.7",
    ]  # fmt: skip


async def test_health_is_served_before_the_process_is_ready(tmp_path: Path) -> None:
    watchdog = Watchdog()
    with closing(listening_socket("::", 0)) as free:
        port = free.getsockname()[1]
    found: list[int] = []
    async with (
        metrics_server(Metrics(), watchdog=watchdog, listen=f"[::]:{port}"),
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        for change in (None, watchdog.ready, watchdog.stopping):
            if change is not None:
                change()
            async with session.get("/healthz") as live, session.get("/readyz") as ready:
                found += [live.status, ready.status]
    assert found == [200, 503, 200, 200, 200, 503]


async def test_peers_are_added_up(tmp_path: Path) -> None:
    with closing(listening_socket("::", 0)) as free:
        port = free.getsockname()[1]
    async with (
        metrics_server(Metrics(), socket=str(tmp_path / "part.metrics")),
        metrics_server(Metrics(), listen=f"[::]:{port}", peers=tmp_path),
        ClientSession(f"http://127.0.0.1:{port}") as session,
        session.get("/metrics") as reply,
    ):
        text = await asyncio.wait_for(reply.text(), 10)
    assert 'penstock_build_info{process="part"' in text
