"""Each reverse proxy of deploy/proxies in front of a real `penstock up`: uploads, batches, live streams,
headers, compression, addresses, and its own restart."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from support.proxied import (
    ALL,
    SETTINGS,
    head_of,
    log_in,
    port_of,
    request_of,
    upload_slowly,
    visiting,
)
from support.reverse_proxies import ReverseProxy, running_reverse_proxy
from support.through import Visitor
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

PROJECT = "proxied"
MIB = 2**20
QUIET_S = 40.0
"""Longer than two heartbeats of a live stream, which come every 15 s."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    with running_up(folder, "--require-login", settings=SETTINGS) as found:
        yield found


@pytest.fixture(scope="module", params=ALL)
def proxy(
    request: pytest.FixtureRequest, up: Up, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReverseProxy]:
    folder = tmp_path_factory.mktemp(request.param)
    with running_reverse_proxy(request.param, folder, port_of(up)) as found:
        yield found


@pytest.fixture
def visitor(proxy: ReverseProxy, up: Up, tmp_path: Path) -> Iterator[Visitor]:
    with visiting(proxy, up, tmp_path) as found:
        yield found


def test_a_run_logged_through_it_is_whole(visitor: Visitor, proxy: ReverseProxy) -> None:
    visitor.log(PROJECT, f"log-{proxy.kind}", 2_000)
    assert visitor.verify(f"local/{PROJECT}/log-{proxy.kind}").returncode == 0
    rows = visitor.history(PROJECT, f"log-{proxy.kind}")
    assert [row["step twice"] for row in rows] == [2 * step for step in range(2_000)]


def test_an_upload_of_200_mb_arrives(visitor: Visitor, proxy: ReverseProxy) -> None:
    run = created(visitor, f"large-{proxy.kind}")
    content = os.urandom(MIB) * 200
    visitor.upload(PROJECT, run, "model.bin", content, timeout_s=240)
    assert hashlib.sha256(visitor.download(PROJECT, run, "model.bin")).digest() == (
        hashlib.sha256(content).digest()
    )


def test_a_slow_upload_arrives(visitor: Visitor, proxy: ReverseProxy) -> None:
    """One that takes longer than the time-outs that proxies have for the head of a request."""
    upload_slowly(visitor, proxy, PROJECT, created(visitor, f"slow-{proxy.kind}"))


def test_an_upload_that_breaks_off_leaves_nothing(
    visitor: Visitor, proxy: ReverseProxy, up: Up
) -> None:
    run = created(visitor, f"broken-{proxy.kind}")
    url = urlsplit(visitor.upload_url(PROJECT, run, "broken.bin"))
    incoming = up.folder / "data" / "blobs" / "incoming"
    with proxy.connect() as connection:
        connection.sendall(head_of("PUT", url.path, url.query, 9_000_000) + bytes(3_000_000))
        # It is there before it is complete: the proxy does not keep it back.
        wait_until(lambda: incoming.exists() and any(incoming.iterdir()), 30)
    wait_until(lambda: not any(incoming.iterdir()), 30)
    assert visitor.ask(f"/v1/runs/local/{PROJECT}/{run}/files")["files"] == []


def test_live_events_come_at_once_and_silence_does_not_end_them(
    visitor: Visitor, proxy: ReverseProxy
) -> None:
    watch(visitor, proxy)


def watch(visitor: Visitor, proxy: ReverseProxy) -> None:
    """Follow a project through some silence, and see what happens before and after it."""
    created(visitor, f"live-{proxy.kind}")
    with open_stream(visitor, proxy) as stream:
        assert next_event(stream)["n"] == 1
        for number, pause_s in enumerate((0.0, QUIET_S)):
            beats = beats_during(stream, pause_s)
            assert len(beats) >= pause_s // 20
            send_rows(visitor, f"live-{proxy.kind}", number)
            # Whatever came with the beats or after them: the event that follows the rows.
            event = next_event(stream)
            assert f"live-{proxy.kind}" in {*event["runs"], *event.get("changed", ())}


@contextmanager
def open_stream(visitor: Visitor, proxy: ReverseProxy) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPSConnection(
        "localhost", proxy.https_port, context=visitor.tls, timeout=60
    )
    headers = {"Authorization": f"Bearer {visitor.api_key}", "Accept-Encoding": "gzip, zstd"}
    with closing(connection):
        connection.request("GET", f"/v1/projects/local/{PROJECT}/events", headers=headers)
        with connection.getresponse() as reply:
            assert reply.status == 200
            assert reply.headers.get_content_type() == "text/event-stream"
            assert reply.headers["Content-Encoding"] is None
            yield reply


def next_event(stream: http.client.HTTPResponse) -> dict[str, Any]:
    while True:
        line = stream.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return event


def beats_during(stream: http.client.HTTPResponse, seconds: float) -> list[bytes]:
    """The heartbeats in this time, during which nothing else comes."""
    beats: list[bytes] = []
    started = time.monotonic()
    while time.monotonic() < started + seconds - 15:
        line = stream.readline()
        assert line, "the stream ended"
        if line.startswith(b": still here"):
            beats.append(line)
    return beats


def send_rows(visitor: Visitor, run: str, step: int) -> None:
    rows = [{"step": step, "loss": 0.5}]
    visitor.ask("/v1/batches?wait=committed", {"project": PROJECT, "run": run, "rows": rows})


@pytest.mark.parametrize("kind", ALL[:2])
def test_live_streams_outlive_idle_timeouts_that_heartbeats_keep_away(
    kind: str, up: Up, tmp_path: Path
) -> None:
    """Of the two proxies that have one. It is an hour; here less than the silence, and then less than the
    time between heartbeats."""
    for idle_s, survives in ((20, True), (10, False)):
        folder = tmp_path / str(idle_s)
        folder.mkdir()

        def shorter(text: str, idle_s: int = idle_s) -> str:
            assert " 1h" in text
            return text.replace(" 1h", f" {idle_s}s")

        with (
            running_reverse_proxy(kind, folder, port_of(up), shorter) as proxy,
            visiting(proxy, up, folder) as visitor,
            nullcontext() if survives else pytest.raises((AssertionError, OSError)),
        ):
            watch(visitor, proxy)


def test_large_headers_pass_and_huge_ones_are_refused(visitor: Visitor) -> None:
    large = {"X-Filler": "x" * 7_000}
    assert visitor.ask("/v1/viewer", headers=large)["entity"] == "local"
    with pytest.raises((HTTPError, OSError)) as refused:
        visitor.ask("/v1/viewer", headers={"X-Filler": "x" * 200_000})
    if isinstance(refused.value, HTTPError):
        refused.value.close()
        assert 400 <= refused.value.code < 500


def test_it_compresses_json_and_leaves_the_rest_alone(
    visitor: Visitor, proxy: ReverseProxy, up: Up
) -> None:
    run = created(visitor, f"gzip-{proxy.kind}")
    content = b"compressible " * 100_000
    visitor.upload(PROJECT, run, "text.bin", content)
    send_rows(visitor, run, 1)
    plain, encoding = fetched(f"{up.url}/v1/openapi.json", visitor)
    assert encoding is None
    packed, encoding = fetched(f"{proxy.url}/v1/openapi.json", visitor)
    assert encoding == "gzip"
    assert gzip.decompress(packed) == plain
    for path, headers, body in (
        (f"/v1/runs/local/{PROJECT}/{run}/files/text.bin", {"Range": "bytes=5-1000004"}, None),
        ("/v1/charts", {"Accept": "application/msgpack"}, chart(run)),
    ):
        direct, _ = fetched(f"{up.url}{path}", visitor, headers, body)
        passed, encoding = fetched(f"{proxy.url}{path}", visitor, headers, body)
        assert encoding is None, path
        assert passed == direct


def chart(run: str) -> bytes:
    return json.dumps({"project": PROJECT, "runs": [run], "keys": ["loss"]}).encode()


def fetched(
    url: str, visitor: Visitor, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[bytes, str | None]:
    sent = {"Authorization": f"Bearer {visitor.api_key}", "Accept-Encoding": "gzip, zstd, br"}
    request = Request(url, body, {**sent, "Content-Type": "application/json", **(headers or {})})
    context = visitor.tls if url.startswith("https") else None
    with urlopen(request, timeout=30, context=context) as reply:
        return reply.read(), reply.headers["Content-Encoding"]


def test_the_server_knows_who_asks_and_by_which_address(
    visitor: Visitor, proxy: ReverseProxy
) -> None:
    run = created(visitor, f"who-{proxy.kind}")
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=9.9.9.9;host=evil.example",
    }
    visitor.headers = lies
    assert visitor.upload_url(PROJECT, run, "a").startswith(f"{proxy.url}/wandb/files/")
    status, headers = log_in(visitor, visitor.api_key, lies)
    assert status == 204
    cookie = headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(re.split("; *", cookie))
    # A page of this address may use the session, one of another may not.
    session = {"Cookie": cookie.partition(";")[0]}
    for origin, allowed in (("https://evil.example", False), (proxy.url, True)):
        answer = request_of(
            "DELETE", f"{proxy.url}/v1/session", visitor, {**session, "Origin": origin}
        )
        assert (answer[0] == 204) is allowed, answer[0]
    # Who guesses keys cannot pretend to come from elsewhere each time.
    other = visitor.ask("/v1/api-keys", {"label": proxy.kind})["api_key"]
    wrong = f"{other[:-4]}{proxy.kind[:4]}"
    statuses = [
        log_in(visitor, wrong, {"X-Forwarded-For": f"10.0.0.{number}"})[0] for number in range(12)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_plain_http_leads_to_https(proxy: ReverseProxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http_port, timeout=30)
    connection.request("GET", "/v1/viewer?x=1", headers={"Host": "localhost"})
    reply = connection.getresponse()
    connection.close()
    assert reply.status in (301, 302, 307, 308)
    location = urlsplit(reply.headers["Location"])
    assert (location.scheme, location.hostname, location.path) == (
        "https",
        "localhost",
        "/v1/viewer",
    )


def test_a_restart_of_the_proxy_loses_nothing(visitor: Visitor, proxy: ReverseProxy) -> None:
    run = f"restart-{proxy.kind}"
    code = f"""
import time
import penstock
with penstock.init(project={PROJECT!r}, id={run!r}) as run:
    print("logging", flush=True)
    for step in range(4_000):
        run.log({{"step twice": 2 * step}}, step=step)
        time.sleep(0.002)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], env=visitor.environ, stdout=subprocess.PIPE, text=True
    ) as script:
        try:
            assert script.stdout is not None
            assert any("logging" in line for line in script.stdout)
            for _ in range(2):
                wait_until(lambda: steps(visitor, run), 60)
                proxy.kill()
                proxy.start()
            assert script.wait(120) == 0
        finally:
            script.kill()
    assert visitor.verify(f"local/{PROJECT}/{run}").returncode == 0
    rows = visitor.history(PROJECT, run)
    assert [row["step twice"] for row in rows] == [2 * step for step in range(4_000)]


def steps(visitor: Visitor, run: str) -> int:
    try:
        return int(visitor.ask(f"/v1/runs/local/{PROJECT}/{run}")["last_step"] or 0)
    except HTTPError as error:
        error.close()
        return 0


def created(visitor: Visitor, run: str) -> str:
    visitor.ask("/v1/runs", {"project": PROJECT, "run": run})
    return run
