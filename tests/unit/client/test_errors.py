"""Replies back to errors: what a server or a proxy says of when to come again."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from penstock.errors import Transient, from_reply


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
