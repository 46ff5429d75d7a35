"""A folder with many spools: `init` decodes only those of its run, and does not measure all of them each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.runs import earlier
from penstock.spool import root as spool_root
from penstock.spool.meta import META_FILE, Meta, load_meta, store_meta


@pytest.mark.parametrize("run", ["a", 'with "quotes"', "größer", "日本", "a\\b"])
def test_only_spools_that_name_the_run_are_decoded(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def load(folder: Path) -> Meta:
        decoded.append(folder.name)
        return load_meta(folder)

    for name, run_id in (("mine", run), ("other", "another"), ("damaged", "third")):
        (tmp_path / name).mkdir()
        store_meta(tmp_path / name, Meta("http://here", "", None, "p", run_id, name, 1))
    (tmp_path / "damaged" / META_FILE).write_bytes(b"\x00")
    (tmp_path / "unfinished").mkdir()
    monkeypatch.setattr(earlier, "load_meta", load)
    assert [meta.run for _, meta in earlier._spools_naming(run, tmp_path)] == [run]
    assert decoded == ["mine"]


def test_the_space_is_measured_again_after_a_while_or_when_it_is_scarce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, used = [100.0], [5]
    monkeypatch.setattr(spool_root, "_measured", {})
    monkeypatch.setattr("penstock.spool.root.time.monotonic", lambda: now[0])
    monkeypatch.setattr(spool_root, "used_bytes", lambda _: used[0])
    assert spool_root.recently_used_bytes(tmp_path, 10) == 5
    used[0] = 20
    assert spool_root.recently_used_bytes(tmp_path, 10) == 5
    spool_root.note_used_bytes(tmp_path, 3)
    assert spool_root.recently_used_bytes(tmp_path, 10) == 8
    now[0] += 1.1
    assert spool_root.recently_used_bytes(tmp_path, 10) == 20
    used[0] = 30
    assert spool_root.recently_used_bytes(tmp_path, 10) == 30  # scarce: each time
