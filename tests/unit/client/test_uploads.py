"""A spool's files on their way: one at a time, kept until the server has them, set aside if it refuses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import Rejected
from penstock.shipper import uploads as module
from penstock.shipper.uploads import Uploads
from penstock.spool.files import add_file


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path)


def test_each_file_until_none_is_left(uploads: Uploads, tmp_path: Path) -> None:
    assert uploads.next() is None
    for name in ("a", "b"):
        add_file(tmp_path, name, name.encode())
    sent = []
    while (path := uploads.next()) is not None:
        file = uploads.read(path)
        assert file is not None
        sent.append(file.name)
        uploads.uploaded(path)
    assert sent == ["a", "b"]
    assert not uploads.are_left
    assert [*tmp_path.iterdir()] == []


def test_one_that_comes_later_is_found(uploads: Uploads, tmp_path: Path) -> None:
    assert not uploads.are_left
    add_file(tmp_path, "late", b"x")
    assert uploads.are_left


def test_a_refused_file_is_set_aside(uploads: Uploads, tmp_path: Path) -> None:
    add_file(tmp_path, "a", b"x")
    path = uploads.next()
    assert path is not None
    uploads.refused(path, Rejected("no such name", code="bad_file_name", status=400))
    assert not uploads.are_left
    assert [each.suffix for each in tmp_path.iterdir()] == [".refused"]


def test_a_damaged_file_is_set_aside(uploads: Uploads, tmp_path: Path) -> None:
    (tmp_path / "x.file").write_bytes(b"\x00")
    path = uploads.next()
    assert path is not None
    assert uploads.read(path) is None
    assert not uploads.are_left


def test_another_key_may_change_it(uploads: Uploads, tmp_path: Path) -> None:
    add_file(tmp_path, "a", b"x")
    path = uploads.next()
    assert path is not None
    with pytest.raises(Rejected):
        uploads.refused(path, Rejected("no", code="unauthorized", status=401))
    assert uploads.are_left


def test_a_proxy_is_asked_again_for_a_while(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(tmp_path, "a", b"x")
    refusal = Rejected("a page", code="http_404", status=404)
    path = uploads.next()
    assert path is not None
    uploads.refused(path, refusal)
    assert uploads.are_left
    assert uploads.next() is None
    monkeypatch.setattr(module, "_RETRY_S", -1.0)
    uploads._not_before = 0.0
    for _ in range(module._MOST_TRIES - 1):
        assert uploads.next() == path
        uploads.refused(path, refusal)
    assert not uploads.are_left
