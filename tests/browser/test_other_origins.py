"""What pages of another port can do with a visitor's session, over plain HTTP: nothing. And what can be
made of an uploaded script: nothing either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect
from support.chromium import chromium
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
QUERY = """mutation M($files: [String!]!) { createRunFiles(input: {entityName: "local",
 projectName: "code", runName: "r", files: $files}) { files { uploadUrl } } }"""
CODE = "globalThis.ran = true; globalThis.postMessage?.('ran');"
NAMES = ("x.js", "x.mjs", "x.css", "x.svg", "x.html", "x")
NAME = "tracker.example"
PLACE = "v1/runs/local/code/r/files/"

# Each way in which a page may make something of an address; all give "no" unless it worked.
WAYS = {
    "script": """url => new Promise(done => { const e = document.createElement('script');
        e.onload = () => done('loaded'); e.onerror = () => done('no'); e.src = url;
        document.head.append(e) })""",
    "module": """url => new Promise(done => { const e = document.createElement('script');
        e.type = 'module'; e.onload = () => done('loaded'); e.onerror = () => done('no'); e.src = url;
        document.head.append(e) })""",
    "import": "url => import(url).then(() => 'loaded', () => 'no')",
    "style": """url => new Promise(done => { const e = document.createElement('link');
        e.rel = 'stylesheet'; e.onload = () => done('loaded'); e.onerror = () => done('no'); e.href = url;
        document.head.append(e) })""",
    "worker": """url => new Promise(done => { const w = new Worker(url);
        w.onmessage = () => done('loaded'); w.onerror = () => done('no') })""",
    "module worker": """url => new Promise(done => { const w = new Worker(url, {type: 'module'});
        w.onmessage = () => done('loaded'); w.onerror = () => done('no') })""",
    "service worker": """url => navigator.serviceWorker.register(url).then(() => 'loaded', () => 'no')""",
}
FRAME = """url => new Promise(done => { const e = document.createElement('iframe');
    e.onload = () => { let seen = 'no';
      try { if (e.contentWindow.ran || e.contentDocument) seen = 'same origin' } catch {}
      done(seen) };
    e.src = url; document.body.append(e); setTimeout(() => done('no'), 3000) })"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An installation that is known by a name: browsers trust loopback addresses as if by https, and
    tell them more."""
    with running_up(tmp_path_factory.mktemp("up"), "--require-login") as up:
        body = {"project": "code", "run": "r", "rows": [{"step": 0, "loss": 1.0}]}
        up.post("/v1/batches", body)
        wait_until(lambda: len(up.get("/v1/projects")["projects"]) == 1, 30)
        upload(up)
        yield up


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium that finds every name here."""
    with chromium("--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        yield browser


def named(up: Up) -> str:
    """The installation's address, by name."""
    return f"http://{NAME}:{urlparse(up.url).port}"


def upload(up: Up) -> None:
    answer = up.post("/graphql", {"query": QUERY, "variables": {"files": list(NAMES)}})
    for file in answer["data"]["createRunFiles"]["files"]:
        name = urlparse(file["uploadUrl"]).path.rpartition("/")[2]
        is_page = name.endswith((".svg", ".html"))
        svg = f"<svg xmlns='http://www.w3.org/2000/svg'><script>{CODE}</script></svg>"
        urlopen(
            Request(file["uploadUrl"], (svg if is_page else CODE).encode(), method="PUT")
        ).close()


@contextmanager
def other_port(folder: Path) -> Iterator[str]:
    """A page of the same host on another port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (folder / "index.html").write_text("<!doctype html><p>elsewhere</p>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{NAME}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def logged_in(browser: Browser, up: Up, address: str) -> BrowserContext:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    status = page.evaluate(
        """async key => (await fetch('v1/session', {method: 'POST', body: JSON.stringify({api_key: key}),
            headers: {'Content-Type': 'application/json'}})).status""",
        up.api_key,
    )
    assert status == 204
    assert context.cookies()
    return context


ATTACKS = {
    "fetch": """async ([url, body]) => { await fetch(url, {method: 'POST', mode: 'no-cors', body,
        credentials: 'include', headers: {'Content-Type': 'text/plain'}})
        .catch(() => {}) }""",
    "fetch without a referrer": """async ([url, body]) => { await fetch(url, {method: 'POST', body,
        mode: 'no-cors', credentials: 'include', referrerPolicy: 'no-referrer'}).catch(() => {}) }""",
    "beacon": "([url, body]) => { navigator.sendBeacon(url, body) }",
    "form": """([url, body]) => new Promise(done => { const f = document.createElement('form');
        f.method = 'POST'; f.action = url; f.enctype = 'text/plain'; f.target = 'out';
        const i = document.createElement('input'); i.name = body.slice(0, -1) + ', "x": "';
        i.value = '"}'; f.append(i); const w = document.createElement('iframe'); w.name = 'out';
        w.onload = () => done(); document.body.append(w, f); f.submit(); setTimeout(() => done(), 3000) })""",
    "image": """([url]) => new Promise(done => { const e = new Image(); e.onload = e.onerror = () => done();
        e.src = url })""",
}


TARGETS = (
    ("/v1/projects/local/code/runs/delete", '{"runs": ["r"]}'),
    ("/v1/api-keys", '{"label": "stolen"}'),
    ("/v1/session", '{"api_key": "@KEY"}'),
)


def key_ids(up: Up) -> set[str]:
    return {each["id"] for each in up.get("/v1/api-keys")["api_keys"]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_page_of_another_port_changes_nothing(
    browser: Browser, up: Up, tmp_path: Path, attack: str
) -> None:
    keys, context = key_ids(up), logged_in(browser, up, named(up))
    cookies, page = context.cookies(), context.new_page()
    asked: list[tuple[str, str | None]] = []
    page.on("request", lambda each: asked.append((each.url, each.header_value("sec-fetch-site"))))
    with other_port(tmp_path) as elsewhere:
        page.goto(elsewhere)
        for path, body in TARGETS:
            body = body.replace("@KEY", up.api_key)
            page.evaluate(ATTACKS[attack], [named(up) + path, body])
            page.wait_for_timeout(300)
            assert any(path in url for url, _ in asked), (attack, path)
        page.close()
    assert {site for _, site in asked} == {None}, "this browser is no test of plain HTTP"
    assert up.get("/v1/runs/local/code/r")["run"] == "r"
    assert key_ids(up) == keys
    assert context.cookies() == cookies


def test_the_page_itself_still_works(browser: Browser, up: Up) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{named(up)}/?project=local/code")
    page.get_by_label("API key").fill(up.api_key)
    page.get_by_label("API key").press("Enter")
    expect(page.get_by_text("loss").first).to_be_visible()
    changed = page.evaluate(
        """async () => (await fetch('v1/runs/local/code/r', {method: 'PATCH',
            headers: {'Content-Type': 'application/json'}, body: '{"name": "renamed"}'})).status"""
    )
    assert changed == 200
    assert up.get("/v1/runs/local/code/r")["name"] == "renamed"
    ended = page.evaluate("async () => (await fetch('v1/session', {method: 'DELETE'})).status")
    assert ended == 204


def without_policy(page: Page) -> None:
    """Let the page's own policy stand aside, as if a hole had been found in it."""

    def answer(route: object) -> None:
        response = route.fetch()  # type: ignore[attr-defined]
        headers = {
            name: value
            for name, value in response.headers.items()
            if name != "content-security-policy"
        }
        route.fulfill(response=response, headers=headers)  # type: ignore[attr-defined]

    page.route(lambda url: urlparse(url).path == "/", answer)


@pytest.mark.parametrize("has_policy", [True, False])
def test_no_page_of_the_origin_can_run_what_was_uploaded(
    browser: Browser, up: Up, has_policy: bool
) -> None:
    page = logged_in(browser, up, up.url).new_page()
    if not has_policy:
        without_policy(page)
    page.goto(up.url)
    for way, script in [*WAYS.items(), ("frame", FRAME)]:
        for name in NAMES:
            done = "no"
            with suppress(Error):  # what a policy forbids may throw at once
                done = page.evaluate(script, f"{up.url}/{PLACE}{name}")
            assert done == "no", (way, name)
            assert not page.evaluate("globalThis.ran ?? false"), (way, name)
    # The page's own script would have run: it is not these ways that fail.
    own = page.evaluate("[...document.querySelectorAll('script[src]')][0].src")
    assert page.evaluate(WAYS["script"], own) == "loaded"


def test_an_uploaded_page_runs_nothing_when_it_is_opened(browser: Browser, up: Up) -> None:
    context = logged_in(browser, up, up.url)
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda each: messages.append(each.text))
    with page.expect_download():
        page.evaluate("url => { location.href = url }", f"{up.url}/{PLACE}x.js")
    frames = page.evaluate(FRAME, f"{up.url}/{PLACE}x.html")
    assert frames == "no"
    assert json.dumps(messages).count("'ran'") == 0
