"""Bytes that are no text, and text that is no sense, in every part of a request's head, on every route:
no answer of 500, and no line in the log about a bug."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import urlparse

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.marks import first_of
from support.routing import application
from support.stack import Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
NO_TEXT = (
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"caf\xe9",
    "\N{PILE OF POO}".encode(),
    b"\x80" * 50,
)
HUGE = b"a" * 7_000
COOKIES = (
    *NO_TEXT,
    *(b"penstock_session=" + each for each in (*NO_TEXT, HUGE, b"", b".", b"a.b.c", b'"a.1.b"', b"@SESSION")),
    b"penstock_session=\xff; penstock_session=@SESSION; x=\xfe",
    b"x=\xff; penstock_session=@SESSION",
    b"penstock_session", b"=", b"=;=;=", b";;;", b'a="b', b"a=b; " * 500, HUGE, b"",
)  # fmt: skip
KEYS = (
    *NO_TEXT, HUGE, b"", b"Bearer", b"Bearer ", b"Basic", b"Basic !!", b"Basic =", b"Digest a=b",
    *(b"Bearer " + each for each in (*NO_TEXT, b"penstock_user_\xff", b"penstock_user_" + b"\xc3\xa9" * 59)),
    *(b"Basic " + base64.b64encode(each) for each in (b"api:\xff", b"\xff", b"api:", b"", b"api:@KEY\x00")),
    b"Bearer @KEY, Bearer @KEY", b"Basic \xff\xfe",
)  # fmt: skip
OTHERS = (
    "Host", "Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Dest", "X-Forwarded-For",
    "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Content-Type", "Content-Encoding", "Range",
    "If-Range", "If-None-Match", "If-Modified-Since", "Accept", "Accept-Encoding", "Accept-Language",
    "Idempotency-Key", "Expect", "User-Agent", "Service-Worker", "Connection", "Upgrade",
    "X-WANDB-USERNAME", "Last-Event-ID", "Access-Control-Request-Method", "Access-Control-Request-Headers",
)  # fmt: skip
ODD = (*NO_TEXT, HUGE, b"", b",", b"bytes=--5", b"bytes=9-1", b"bytes=" + b"9" * 400 + b"-", b"100-continue",
       b"text/plain; charset=\xff", b"application/json; charset=utf-99", b"[::", b"http://[", b"W/\"")  # fmt: skip
SEGMENTS = (
    "a",
    "%ff",
    "%00",
    "%ED%A0%80",
    "..",
    "%2e%2e%2f",
    "%F0%9F%92%A9",
    "a" * 3_000,
    "%",
    "%zz",
)
QUERIES = (
    "", "%ff=%ff", "keys=%ff&keys=%00", "limit=%ff", "limit=" + "9" * 400, "filter=%ff", "filter=[",
    "expires=%ff&signature=%ff&key=%ff", "expires=%D9%A3&signature=x", "order=%ED%A0%80", "after=%ff",
    "a=" + "b" * 5_000, "download=%ff", "everywhere=%ff", "\xff", "&&&===", "sha256=%ff", "key=%ff&run=%ff",
)  # fmt: skip


def routes() -> list[tuple[str, str]]:
    found = {
        (route.method, route.resource.canonical)
        for route in application().router.routes()
        if route.resource is not None
    }
    return sorted(found)


ROUTES = routes()
NO_ROUTES = [("GET", "/nowhere"), ("BREW", "/v1/viewer"), ("POST", "/v1/viewer")]


def path_of(pattern: str, segment: str) -> str:
    digits = {"md5": "0" * 32, "sha256": "0" * 64, "number": "1", "size": "1"}
    return re.sub(r"{(\w+)}", lambda name: digits.get(name[1], segment), pattern)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, bytes]]:
    """A gateway with every route, which asks for a login, and a session there."""
    folder = tmp_path_factory.mktemp("stack")
    async with running_stack(folder, workers=0, require_login=True) as stack:
        body = {"api_key": stack.api_key}
        async with stack.session.post(f"{stack.urls[0]}/v1/session", json=body) as reply:
            session = reply.headers["Set-Cookie"].split(";")[0].partition("=")[2]
        stack.session.cookie_jar.clear()
        yield stack, session.encode()


async def status(served: tuple[Stack, bytes], method: str, target: str, *lines: bytes) -> int:
    """What comes back to a request with these header lines; 0 if nothing does."""
    stack, session = served
    head = b"\r\n".join([f"{method} {target} HTTP/1.1".encode("latin-1"), *lines, b"", b""])
    head = head.replace(b"@SESSION", session).replace(b"@KEY", stack.api_key.encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", urlparse(stack.urls[0]).port)
    try:
        writer.write(head)
        async with asyncio.timeout(20):
            answer = await reader.readline()
            while answer.startswith(b"HTTP/1.1 100"):
                while (await reader.readline()).strip():
                    pass
                answer = await reader.readline()
        return int(answer.split()[1]) if answer else 0
    finally:
        writer.close()


PLAIN = (b"Host: x", b"Connection: close", b"Content-Length: 0")


def heads() -> Iterator[tuple[bytes, ...]]:
    yield from ((*PLAIN, b"Cookie: " + each) for each in COOKIES)
    yield from ((*PLAIN, b"Authorization: " + each) for each in KEYS)
    yield (*PLAIN, b"Cookie: penstock_session=@SESSION", b"Cookie: penstock_session=\xff")
    yield (*PLAIN, b"Authorization: \xff", b"Authorization: Bearer @KEY")
    for name in OTHERS:
        lines = [line for line in PLAIN if not line.startswith(name.encode() + b":")]
        key = b"Authorization: Bearer @KEY"
        yield from ((*lines, key, name.encode() + b": " + each) for each in ODD)
        yield (*lines, b"Cookie: penstock_session=@SESSION", name.encode() + b": \xff\xfe")


HEADS = list(heads())


@pytest.fixture(autouse=True)
def no_bug(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR):
        yield
    assert [each for each in caplog.records if each.getMessage() == "request_failed"] == []


async def failures(
    served: tuple[Stack, bytes], asked: Sequence[tuple[str, str, tuple[bytes, ...]]]
) -> list[object]:
    failed: list[object] = []
    for method, target, lines in asked:
        got = await status(served, method, target, *lines)
        if got == 500 or got > 503:
            failed.append((got, method, target[:80], lines[-1][:80]))
    return failed


@pytest.mark.parametrize("part", first_of(*range(4)))
async def test_no_header_is_a_500_on_any_route(served: tuple[Stack, bytes], part: int) -> None:
    """Every head once, on one route after the other, and every route with a few of them."""
    at_once = [
        (*ROUTES[number % len(ROUTES)], head)
        for number, head in enumerate(HEADS)
        if number % 4 == part
    ]
    few = [
        HEADS[0],
        HEADS[6],
        (*PLAIN, b"Cookie: penstock_session=\xff\xfe"),
        (*PLAIN, b"Authorization: \xff"),
    ]
    each = [(*route, few[part]) for route in ROUTES]
    asked = [(method, path_of(path, "a"), head) for method, path, head in at_once + each]
    assert await failures(served, asked) == []


async def test_no_header_is_a_500_where_there_is_no_route(served: tuple[Stack, bytes]) -> None:
    """An Expect that is no text is refused by the doors, before there is a route to ask."""
    heads_here = [head for head in HEADS if not head[-1].startswith(b"Expect")]
    asked = [(*NO_ROUTES[number % 3], head) for number, head in enumerate(heads_here)]
    assert await failures(served, asked) == []


@pytest.mark.smoke
@pytest.mark.heavy
async def test_no_path_and_no_query_is_a_500_on_any_route(served: tuple[Stack, bytes]) -> None:
    key = (*PLAIN, b"Authorization: Bearer @KEY")
    asked = []
    for number, (method, path) in enumerate(ROUTES):
        for segment in SEGMENTS if "{" in path else SEGMENTS[:1]:
            asked.append((method, path_of(path, segment), key))
        for query in (
            QUERIES[number % len(QUERIES)],
            QUERIES[(number + 7) % len(QUERIES)],
            "%ff=%ff",
        ):
            asked.append((method, f"{path_of(path, 'a')}?{query}", key))
    asked += [("GET", f"{path_of(path, 'a')}?{query}", key) for query in QUERIES for method, path in ROUTES
              if method == "GET"][:: 3]  # fmt: skip
    assert await failures(served, asked) == []


lines = st.builds(
    lambda name, value: name + b": " + value,
    st.sampled_from([b"Cookie", b"Authorization", *(name.encode() for name in OTHERS)]),
    st.one_of(
        st.sampled_from([*COOKIES, *KEYS, *ODD]),
        st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\r\n\0")),
        st.binary(max_size=30).map(
            lambda raw: b"penstock_session=" + raw.translate(None, b"\r\n\0")
        ),
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize="FUZZ_SEED" not in os.environ,
)  # fmt: skip
@given(
    st.sampled_from(ROUTES),
    st.lists(lines, max_size=4),
    st.sampled_from(SEGMENTS),
    st.sampled_from(QUERIES),
)
async def test_no_mixture_is_a_500(
    served: tuple[Stack, bytes],
    route: tuple[str, str],
    drawn: list[bytes],
    segment: str,
    query: str,
) -> None:
    target = f"{path_of(route[1], segment)}?{query}"
    assert await failures(served, [(route[0], target, (*PLAIN, *drawn))]) == []
