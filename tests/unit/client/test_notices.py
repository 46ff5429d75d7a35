"""Notices: once each, with the line of the user's code where there is one, and never an error."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from penstock.notices import Notices, call_site
from penstock.values.aside import Aside
from penstock.values.repairs import Repairs


def test_a_located_warning_names_the_line_that_led_to_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notices = Notices()
    for _ in range(10):
        notices.warn("x", "text", is_located=True)
    first, tenth = capsys.readouterr().err.splitlines()
    assert first.startswith(f"penstock: warning: text ({__file__}:")
    assert tenth.endswith("(10 times so far)")


def test_a_package_whose_name_begins_like_ours_is_the_users() -> None:
    import penstock  # noqa: PLC0415

    ours = os.path.dirname(penstock.__file__)  # noqa: PTH120
    found: dict[str, str] = {}
    code = "found['site'] = call_site()"
    names = {"call_site": call_site, "found": found}
    exec(compile(code, f"{ours}_theirs/train.py", "exec"), names)  # noqa: S102
    assert found["site"] == f"{ours}_theirs/train.py:1"


def test_no_stream_stops_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("reentrant call")

    for stream in (None, Raises(), object()):
        monkeypatch.setattr(sys, "stderr", stream)
        Notices().say("text")


def test_nothing_is_left_in_the_buffer_of_a_closed_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(os.dup(writer), "w", buffering=100_000) as stream:  # noqa: PTH123
        number = stream.fileno()
        os.close(number)
        monkeypatch.setattr(sys, "stderr", stream)
        Notices().say("text")
        os.dup2(writer, number)  # so that it can be closed: what it has kept arrives now
    os.close(writer)
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_errors_of_ours_are_counted_in_a_field_of_the_run() -> None:
    fields: dict[str, str] = {}
    repairs = Repairs(lambda given: fields.update(given) is None)
    for _ in range(12):
        try:
            fields["missing"]
        except KeyError as error:
            repairs.fault("log", error)
    repairs.flush()
    (name,) = fields
    assert name == "notice client.log"
    assert fields[name].startswith(
        "an error in Penstock itself: KeyError: 'missing', at test_notices.py:"
    )
    assert fields[name].endswith("(12 times)")


def test_a_drain_waits_for_what_was_put_before_it() -> None:
    aside, more = Aside(), threading.Event()
    delivered: list[object] = []

    def put() -> None:
        aside.put({"a": 1}, delivered.append)

    def again(found: object) -> None:
        delivered.append(found)
        if not more.is_set():
            aside.put({"a": 1}, again)  # as another thread that logs on and on

    put()
    aside.put({"a": 1}, again)
    assert aside.drain(20)
    assert len(delivered) >= 2
    more.set()
    assert aside.drain(20)


def test_a_delivery_that_raises_is_told_and_the_next_one_comes() -> None:
    faults: list[Exception] = []
    delivered: list[object] = []

    def raises(found: object) -> None:
        raise AssertionError("on purpose")

    aside = Aside(faults.append)
    aside.put({"a": 1}, raises)
    aside.put({"a": 2}, delivered.append)
    assert aside.drain(20)
    assert [str(error) for error in faults] == ["on purpose"]
    assert delivered == [{"a": 2}]
