"""Names of W&B's that are not there: what using one does, in a script that goes on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.spools import new_writer, read_batch

import penstock
from penstock.notices import NOTICES
from penstock.runs.run import Run
from penstock.settings import Settings
from penstock.surface.absent import Ignored, absent
from penstock.surface.names import Table, ignored, missing, raises, unknown, unreadable

TABLE: Table = {
    **ignored("Chart draw", "charts are not built"),
    **raises("fetch", "data is not built"),
    **unreadable("data", "data is not built"),
    **missing("frame", "no integration"),
    **unknown("inner", "internal"),
}


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that were printed."""
    lines: list[str] = []
    monkeypatch.setattr(NOTICES, "counts", {})
    monkeypatch.setattr(NOTICES, "say", lines.append)
    yield lines
    NOTICES.strict = False


def get(name: str) -> Any:
    return absent(TABLE, name, "there")


def test_a_class_takes_everything_and_is_noted_once(heard: list[str]) -> None:
    chart = get("Chart")
    assert isinstance(chart, type)
    assert heard == []
    made = chart([1, 2], caption="c")
    made.add(3).style.colour = "red"
    with made.open("x") as inner:
        inner.write("text")
    is_one = isinstance(made, chart)
    assert is_one
    assert get("Chart") is chart
    assert not made
    assert list(made) == []
    chart()
    assert heard == ["warning: there.Chart has no effect: charts are not built"]


def test_a_class_can_be_derived_from() -> None:
    class Mine(get("Chart")):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.size = size

    assert Mine(3).size == 3
    assert isinstance(Mine(3), Ignored)


def test_a_class_has_everything_too() -> None:
    chart = get("Chart")
    chart.MAX_ROWS = 10
    assert chart.MAX_ROWS == 10
    assert isinstance(chart.create(1), Ignored)
    assert not hasattr(chart, "__array__")
    with pytest.raises(penstock.NotSupported):
        chart.get("x")


def test_copies_and_pickles() -> None:
    made = penstock.Image([1])
    assert isinstance(copy.deepcopy(made), penstock.Image)
    assert isinstance(pickle.loads(pickle.dumps(made)), penstock.Image)  # noqa: S301 (our own)


def test_a_function_takes_everything_and_is_noted_once(heard: list[str]) -> None:
    assert not get("draw")(1, to="x")
    assert not get("draw").line(2)
    assert heard == ["warning: there.draw has no effect: charts are not built"]


def test_data_is_never_made_up() -> None:
    fetch = get("fetch")
    with pytest.raises(penstock.NotSupported, match=r"there\.fetch is not supported: data is not"):
        fetch("model:latest")
    with pytest.raises(penstock.NotSupported):
        get("Chart")().download()
    with pytest.raises(penstock.NotSupported):
        get("data")
    assert issubclass(penstock.NotSupported, penstock.PenstockError)


def test_modules_fail_as_imports_do() -> None:
    with pytest.raises(ImportError, match=r"there is no there\.frame: no integration"):
        get("frame")
    with pytest.raises(ImportError):
        from penstock import keras  # noqa: F401, PLC0415
    with pytest.raises(ImportError):
        import penstock.integration.keras  # type: ignore[import-not-found]  # noqa: F401, PLC0415


def test_anything_else_is_an_attribute_error() -> None:
    for name in ("inner", "nonsense", "__path_hook__"):
        with pytest.raises(AttributeError):
            get(name)
    assert not hasattr(penstock, "nonsense")
    assert not hasattr(penstock, "wandb_lib")


def test_strict_raises_instead() -> None:
    NOTICES.strict = True
    with pytest.raises(penstock.NotSupported, match="charts are not built"):
        get("Chart")()
    with pytest.raises(penstock.NotSupported):
        get("draw")


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_runs_forgive_in_every_mode(mode: str, tmp_path: Path) -> None:
    unseen = {"console": "off", "facts": "off", "system_metrics": False}
    run = Run(Settings(mode=mode, dir=str(tmp_path), project="p", **unseen))
    run.log_artifact(penstock.Artifact("model", type="model"), aliases=["best"]).wait()
    assert not run.save("*.pt")
    run.pin_config_keys(["lr"])
    for read in (run.use_artifact, run.use_model, run.restore):
        with pytest.raises(penstock.NotSupported):
            read("model:latest")
    with pytest.raises(AttributeError, match="nonsense"):
        _ = run.nonsense
    run.finish()


def test_what_is_left_out_of_a_row(tmp_path: Path, heard: list[str]) -> None:
    writer = new_writer(tmp_path)
    chart = get("Chart")
    writer.log({"loss": 1.0, "chart": chart(1), "charts": [chart(2), 3]})
    slow_path: Any = writer._slow_path
    assert slow_path.drain(20)
    slow_path.repairs.flush()
    batch = read_batch(writer.spool().folder)
    values = {each["key"]: each["json"] for each in batch.records if each["t"] == "value"}
    assert values == {"charts": "[3]"}
    assert any("chart: left out: charts are not built" in line for line in heard)


def test_dir_lists_what_can_be_used(heard: list[str]) -> None:
    names = dir(penstock)
    assert {"Image", "init", "log_artifact", "use_artifact", "Settings", "config"} <= {*names}
    assert not {"keras", "wandb_lib"} & {*names}
    for name in names:
        getattr(penstock, name)
    run = Run(Settings(mode="disabled"))
    assert {"log_code", "log", "path"} <= {*dir(run)}
    for name in dir(run):
        if not name.startswith("_"):
            getattr(run, name)
