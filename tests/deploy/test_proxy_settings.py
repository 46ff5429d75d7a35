"""The configurations of deploy/proxies below a root path, and what happens without their settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from support.proxied import ALL, SETTINGS, log_in, port_of, upload_slowly, visiting
from support.reverse_proxies import running_reverse_proxy
from support.up import Up, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

PROJECT = "proxied"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    with running_up(folder, "--require-login", settings=SETTINGS) as found:
        yield found


@pytest.mark.parametrize("kind", ALL)
def test_below_a_root_path(kind: str, tmp_path: Path) -> None:
    """The same configuration: the path passes through it."""
    with running_up(tmp_path, "--root-path", "/penstock", settings=SETTINGS) as up:
        folder = tmp_path / kind
        folder.mkdir()
        with (
            running_reverse_proxy(kind, folder, port_of(up)) as proxy,
            visiting(proxy, up, tmp_path, "/penstock") as visitor,
        ):
            visitor.log(PROJECT, "first", 100)
            assert visitor.verify(f"local/{PROJECT}/first").returncode == 0
            visitor.upload(PROJECT, "first", "a.bin", b"content")
            assert visitor.download(PROJECT, "first", "a.bin") == b"content"
            assert b"<html" in visitor.ask("/").lower()
            status, headers = log_in(visitor, up.api_key, {})
            assert status == 204
            assert "Path=/penstock" in headers["Set-Cookie"]


@pytest.mark.smoke
@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_the_default_of_nginx_refuses_uploads(up: Up, tmp_path: Path) -> None:
    """What its setting is for: without it, every upload above 1 MiB is a 413."""

    def without(text: str) -> str:
        assert "client_max_body_size 0;" in text
        return text.replace("client_max_body_size 0;", "")

    with (
        running_reverse_proxy("nginx", tmp_path, port_of(up), without) as proxy,
        visiting(proxy, up, tmp_path) as visitor,
    ):
        visitor.ask("/v1/runs", {"project": PROJECT, "run": "large"})
        with pytest.raises((HTTPError, OSError)) as refused:
            visitor.upload(PROJECT, "large", "large.bin", bytes(2 * 2**20))
        if isinstance(refused.value, HTTPError):
            refused.value.close()
            assert refused.value.code == 413


@pytest.mark.skipif(not shutil.which("traefik"), reason="traefik is not installed")
def test_a_read_timeout_of_traefik_ends_long_uploads(up: Up, tmp_path: Path) -> None:
    """What its setting is for; here five seconds in place of its default of sixty."""

    def shorter(text: str) -> str:
        return text.replace("readTimeout: 0", "readTimeout: 5s")

    with (
        running_reverse_proxy("traefik", tmp_path, port_of(up), shorter) as proxy,
        visiting(proxy, up, tmp_path) as visitor,
    ):
        visitor.ask("/v1/runs", {"project": PROJECT, "run": "slow"})
        with pytest.raises((AssertionError, OSError)):
            upload_slowly(visitor, proxy, PROJECT, "slow")
