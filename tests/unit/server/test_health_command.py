"""Where `penstock health` asks, and what it makes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from penstock_common.process.settings import GatewaySettings
from penstock_server.health_command import address, check


class _Role(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Role) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "http://127.0.0.1:8080/healthz"),
        ({"host": "0.0.0.0", "port": 81}, "http://127.0.0.1:81/healthz"),  # noqa: S104
        ({"host": "::"}, "http://127.0.0.1:8080/healthz"),
        ({"host": "fd00::1"}, "http://[fd00::1]:8080/healthz"),
        ({"metrics_listen": "0.0.0.0:9100"}, "http://127.0.0.1:9100/healthz"),
        ({"metrics_listen": "[::]:9100"}, "http://127.0.0.1:9100/healthz"),
    ],
)
def test_it_asks_where_the_role_listens(settings: dict[str, object], expected: str) -> None:
    assert address(GatewaySettings(**settings)) == expected  # type: ignore[arg-type]


def test_its_status_is_the_roles(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"PENSTOCK_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    assert check(None, environ) == 0
    assert check(f"http://127.0.0.1:{port}/readyz", environ) == 1
    assert "503" in capsys.readouterr().err


def test_nobody_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("http://127.0.0.1:1/healthz", {}) == 1
    assert "http://127.0.0.1:1/healthz" in capsys.readouterr().err
