"""Errors and their codes, and replies back to errors: what a server or a proxy says of when to come
again."""

from __future__ import annotations

import copy
import json
import pickle
import time
from email.utils import formatdate

import pytest

from penstock.error_codes import ErrorCode
from penstock.errors import RETRY_HINT, Code, Rejected, Transient, from_reply


def retry_after(text: str | None) -> float | None:
    error = from_reply(503, None, text)
    assert isinstance(error, Transient)
    return error.retry_after_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("", None), ("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None), ("inf", None)],
)
def test_seconds(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_a_date() -> None:
    ahead = retry_after(formatdate(time.time() + 100, usegmt=True))
    assert ahead is not None
    assert 90 < ahead <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_an_error_has_the_status_and_hint_of_its_code_unless_it_says_more() -> None:
    error = Rejected("no", code=ErrorCode.LINK_EXPIRED)
    assert (error.code, error.status, error.hint) == ("link_expired", 403, "Ask for a new link.")
    error = Rejected("no", code=ErrorCode.LINK_EXPIRED, status=410, hint="")
    assert (error.code, error.status, error.hint) == ("link_expired", 410, "")
    later = Transient("later", code=ErrorCode.QUOTA)
    assert (later.code, later.status, later.hint) == ("quota", 429, ErrorCode.QUOTA.hint)
    later = Transient("later", code=ErrorCode.NOT_COMMITTED)
    assert (later.status, later.hint) == (503, RETRY_HINT)


def test_a_code_of_a_newer_server_is_kept_as_it_is() -> None:
    error = Rejected("no", code="of_tomorrow")
    assert (error.code, error.status, error.hint) == ("of_tomorrow", 400, "")
    later = Transient("later", code="of_tomorrow")
    assert (later.code, later.status, later.hint) == ("of_tomorrow", 503, RETRY_HINT)
    back = from_reply(409, {"error": {"code": "of_tomorrow", "message": "no", "hint": "do this"}})
    assert isinstance(back, Rejected)
    assert (back.code, back.status, back.hint) == ("of_tomorrow", 409, "do this")


def test_a_reply_without_a_hint_has_none() -> None:
    back = from_reply(503, {"error": {"code": "quota", "message": "no"}})
    assert (back.code, back.status, back.hint) == ("quota", 503, "")


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_is_its_text_wherever_it_is_written(code: Code) -> None:
    text = code.value
    assert type(text) is str
    assert f"{code}" == str(code) == "%s" % code == text  # noqa: UP031
    assert json.dumps({"code": code}) == f'{{"code": "{text}"}}'
    assert {code, text} == {text}
    assert ErrorCode[text.upper()] is copy.deepcopy(code) is code
    assert pickle.loads(pickle.dumps(code)) is code  # noqa: S301
