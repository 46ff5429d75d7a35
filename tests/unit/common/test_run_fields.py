"""A run's fields as they are declared: what follows from the declaration, and what the manual says of it."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from penstock.reading.api import Api, ApiRun
from penstock.settings import RUN_SETTINGS, Settings
from penstock.wire.field_types import Texts
from penstock.wire.records import RECORDS
from penstock.wire.run_fields import (
    PLAIN_FIELDS,
    RUN_FIELDS,
    DescribedRun,
    FieldShape,
)
from penstock_common.http.openapi import Asked, model_of
from penstock_common.http.run_models import edited_fields, shown_fields
from penstock_common.http.serialize import run_fields_to_json

MANUAL = Path(__file__).parents[3] / "docs" / "api.md"
VALUES: dict[FieldShape, Any] = {
    FieldShape.TEXT: "a",
    FieldShape.TEXTS: ("a", "b"),
    FieldShape.OBJECT: {"a": float("nan")},
    FieldShape.TIME: 1_500_000,
}
SHOWN: dict[FieldShape, Any] = {
    FieldShape.TEXT: "a",
    FieldShape.TEXTS: ["a", "b"],
    FieldShape.OBJECT: {"a": "NaN"},
    FieldShape.TIME: 1.5,
}


def filled_run() -> DescribedRun:
    return DescribedRun(**{name: VALUES[field.shape] for name, field in RUN_FIELDS.items()})


def table() -> list[str]:
    """The rows of the manual's table of a run's fields."""
    rows = []
    for name, field in RUN_FIELDS.items():
        edit = PLAIN_FIELDS[name].edit.words if name in PLAIN_FIELDS else ""
        path = "" if not field.is_path else "yes; unset if empty" if field.is_optional else "yes"
        searched = "yes" if field.searched_chars else ""
        rows.append(f"| `{name}` | {field.shape.value} | {edit} | {path} | {searched} |")
    return rows


def test_the_manual_shows_the_declaration() -> None:
    lines = MANUAL.read_text().partition("A run's fields, as")[2].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    assert list(takewhile(lambda line: line.startswith("|"), lines[start + 2 :])) == table()


def test_a_run_is_shown_with_all_its_fields_in_their_order() -> None:
    run = filled_run()
    shown = run_fields_to_json(run, config={"b": 1}, summary={}, last_step=3)
    expected = {name: SHOWN[field.shape] for name, field in RUN_FIELDS.items()}
    assert shown == {**expected, "config": {"b": 1}, "summary": {}, "last_step": 3}
    assert list(shown) == [*RUN_FIELDS, "last_step"]
    model_of(Asked, shown_fields()).model_validate(
        {name: value for name, value in shown.items() if name != "last_step"}
    )


def test_a_reader_gives_every_plain_field() -> None:
    shown = run_fields_to_json(filled_run(), config={}, summary={})
    run = ApiRun(Api({"base_url": "http://localhost:1", "entity": "e"}), shown)
    for name, field in PLAIN_FIELDS.items():
        assert getattr(run, name) == SHOWN[field.shape]
        assert name in dir(run)
    assert not hasattr(run, "none_such")


def test_a_reader_has_the_other_fields_too() -> None:
    """Under names of its own: the id is `id`, the facts are `metadata`."""
    others = {"run": "id", "info": "metadata", "updated_at": None}
    for name in RUN_FIELDS.keys() - PLAIN_FIELDS:
        own = others.get(name, name)
        assert own is None or isinstance(getattr(ApiRun, own), property), name


def test_a_script_can_set_every_plain_field() -> None:
    assert set(RUN_SETTINGS) == PLAIN_FIELDS.keys()
    settings = Settings(**{f"run_{name}": "x" for name in RUN_SETTINGS})
    for name, field in PLAIN_FIELDS.items():
        assert getattr(settings, name) == (("x",) if field.shape is FieldShape.TEXTS else "x")


@pytest.mark.parametrize("name", PLAIN_FIELDS)
def test_a_plain_field_fits_its_record_whenever_it_fits_an_edit(name: str) -> None:
    field = PLAIN_FIELDS[name]
    is_list = field.shape is FieldShape.TEXTS
    text = "x" * (field.edit.chars if isinstance(field.edit, Texts) else field.edit.most)
    largest: Any = [text] * field.edit.most if is_list else text
    assert RECORDS["run"][name].type is field.record
    assert field.record.fits(largest)
    assert not field.edit.fits(["x"] * (field.edit.most + 1) if is_list else largest + "x")
    edit = model_of(Asked, edited_fields())
    assert getattr(edit.model_validate({name: largest}), name) == largest
    with pytest.raises(ValueError, match=name):
        edit.model_validate({name: largest + largest[:1]})
    assert field.max_bytes is not None
