"""An error, its answer, and the error that the client makes of that: the same."""

from __future__ import annotations

import json

import pytest

from penstock.errors import Rejected, Transient, from_reply
from penstock.wire import Batch, batch_digest, decode_batch, encode_batch
from penstock_common.http.errors import error_response, json_response


def test_no_reply_has_the_headers_of_another() -> None:
    one = json_response({}, headers={"cache-control": "max-age=60", "ETag": "1"})
    one.headers["Content-Length"] = "9"
    one.headers.add("Set-Cookie", "secret")
    assert one.headers.getall("Cache-Control") == ["max-age=60"]
    other = json_response({})
    assert other.headers["Cache-Control"] == "no-store"
    assert not {"Set-Cookie", "Content-Length", "ETag"} & other.headers.keys()
    assert other.headers["Content-Security-Policy"].startswith("sandbox")


def there_and_back(error: Rejected | Transient) -> Rejected | Transient:
    answer = error_response(error)
    assert isinstance(answer.body, bytes)
    return from_reply(answer.status, json.loads(answer.body), answer.headers.get("Retry-After"))


def test_a_refusal_comes_back_as_it_was() -> None:
    error = Rejected("no", code="conflict", status=409, hint="do this")
    back = there_and_back(error)
    assert isinstance(back, Rejected)
    assert (str(back), back.code, back.status, back.hint) == ("no", "conflict", 409, "do this")
    assert back.supported == ()


def test_an_unknown_version_lists_the_known_ones() -> None:
    raw = encode_batch(Batch(project="p", run="r", writer="w", seq=1))
    with pytest.raises(Rejected) as caught:
        decode_batch(raw.replace(b"\xa1v\x01", b"\xa1v\x63"))
    back = there_and_back(caught.value)
    assert isinstance(back, Rejected)
    assert (back.status, back.code, back.supported) == (415, "unknown_version", (1,))
    assert "[1]" in back.hint


def test_what_no_server_of_ours_sends_is_no_version() -> None:
    payload = {"error": {"code": "unknown_version", "supported": "all"}}
    back = from_reply(415, payload)
    assert isinstance(back, Rejected)
    assert back.supported == ()


def test_retry_after_is_never_shorter_than_asked_and_jitters() -> None:
    error = Transient("later", status=429, code="quota", retry_after_s=30)
    waits = {int(error_response(error).headers["Retry-After"]) for _ in range(100)}
    back = there_and_back(error)
    assert isinstance(back, Transient)
    assert back.retry_after_s in waits
    assert min(waits) >= 30
    assert max(waits) <= 35
    assert len(waits) > 2


def test_the_digest_is_of_what_is_inside() -> None:
    batch = Batch(project="p", run="r", writer="w", seq=1, records=[{"t": "run", "name": "a" * 99}])
    plain, compressed = encode_batch(batch), encode_batch(batch, compress=True)
    assert plain != compressed
    assert batch_digest(plain) == batch_digest(compressed)
    assert len(batch_digest(plain)) == 32
    batch.seq = 2
    assert batch_digest(encode_batch(batch)) != batch_digest(plain)
