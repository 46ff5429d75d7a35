"""Every kind of object in every public call of the client: nothing raises, nothing hangs, the plain
neighbours always arrive, and what is sent is what a door takes."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import cases, sized, source
from support.ledger import Ledger, serve_ledger
from support.spools import Senders, drive, read_batch
from support.zoo import SLOW, ZOO

import penstock
from penstock.notices import NOTICES
from penstock.runs import session
from penstock.runs.run import Run
from penstock.spool.root import spools_in
from penstock.values import aside
from penstock.wire import Room, decode_batch, encode_batch, fit_all

# Heavy for what it imports. Torch and numpy warn of formats that they call young, and of casts.
pytestmark = [pytest.mark.heavy, pytest.mark.smoke, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process is pytest's: it gets no hooks at exit. Little patience, so that this is quick."""
    monkeypatch.setattr(session, "_hook", lambda: None)
    monkeypatch.setattr(NOTICES, "quiet", True)  # as `init` sets it, and back afterwards
    monkeypatch.setattr(aside, "PATIENCE_S", 0.5)
    monkeypatch.setattr(aside, "_AGAIN_S", (0.5, 0.1, 0.0))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PENSTOCK_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("PENSTOCK_API_KEY", "good")
    monkeypatch.setenv("PENSTOCK_SILENT", "1")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with serve_ledger() as served:
        monkeypatch.setenv("PENSTOCK_BASE_URL", served.url)
        yield served


def use(value: Any) -> Run:
    """Every public call with this value, and plain values beside it."""
    run = penstock.init(
        project="zoo", mode="offline", reinit="create_new", name=value, notes=value, group=value,
        job_type=value, tags=[value, "plain"], config={"odd": value, "plain": 1, "in": {"x": value}},
    )  # fmt: skip
    run.config["odd item"] = value
    run.config.attribute = value
    run.config.update(value)
    run.config.update({"more": value, "plain more": 2})
    run.config.setdefaults({"default": value, "plain default": 3})
    run.log({"odd": value, "plain": 0.5, "nest": {"plain": 1.5, "odd": value}}, step=1)
    run.log({"plain": 2.5}, step=2, commit=value is not None)
    run.log(value)
    run.log({"late": 3.5}, step=value)
    run.log({"plain": 4.5}, step=7)
    run.summary["odd"] = value
    run.summary["nest"] = {"odd": value, "plain": 1}
    run.summary["nest"]["plain"] = 2
    run.summary.update({"odd too": value, "plain": 5})
    run.summary.update(value)
    run.define_metric(value, step_metric=value, summary=value, goal=value)
    run.define_metric("plain", summary="max", hidden=value)
    run.alert(value, text=value, level=value)
    run.alert("plain")
    run.tags = [value]
    run.notes = value
    run.name = value
    run.name = "plain"
    return run


def check(ledger: Ledger) -> None:
    """The plain neighbours are there with their values."""
    merged: dict[str, dict[str, Any]] = {"config": {}, "summary": {}, "run": {}}
    for kind, found in merged.items():
        for record in ledger.records(kind):
            found.update(record.get("update", record))
    config, summary = merged["config"], merged["summary"]
    assert [config["plain"], config["plain more"], config["plain default"]] == [1, 2, 3]
    assert (summary["nest"]["plain"], merged["run"]["name"]) == (2, "plain")
    points = ledger.points()
    plain = {step: value for (key, step), value in points.items() if key == "plain"}
    assert {step: plain[step] for step in (1, 2, 7)} == {1: 0.5, 2: 2.5, 7: 4.5}
    assert points["nest.plain", 1] == 1.5
    assert "plain" in [alert.get("title") for alert in ledger.records("alert")]
    assert ledger.records("state")[-1]["state"] == "finished"
    assert "hush" not in repr(merged)


def delivered(ledger: Ledger, root: Path) -> None:
    """Send what lies there, and see that all of it is taken."""
    senders = Senders(ledger)
    try:
        (folder,) = spools_in(root)
        sender = senders(folder)
        drive(sender, lambda: sender.progress.done, 60)
        assert sender.progress.rejected == 0
    finally:
        senders.close()


# A part of it each time, all of it at full size: what the others are for, the next test has too.
@pytest.mark.parametrize(
    "name", source("zoo").sample(sorted(ZOO), min(len(ZOO), len(ZOO) * cases(200) // 200))
)
def test_one_value_everywhere(name: str, ledger: Ledger, tmp_path: Path) -> None:
    use(ZOO[name]()).finish()
    delivered(ledger, tmp_path / "root")
    check(ledger)


@pytest.mark.timeout(120)
def test_the_whole_zoo_in_one_run(ledger: Ledger, tmp_path: Path) -> None:
    zoo = {name: make() for name, make in ZOO.items()}
    run = penstock.init(project="zoo", mode="offline", config={**zoo, "plain": 1})
    for name, value in zoo.items():
        run.config[f"set {name}"] = value
        run.summary[name] = {"odd": value, "plain": name}
        run.log({f"row {name}": value, "plain": 0.5})
    run.log({**{f"all {name}": value for name, value in zoo.items()}, "plain": 1.5})
    run.finish()
    delivered(ledger, tmp_path / "root")
    config = {k: v for record in ledger.records("config") for k, v in record["update"].items()}
    summary = {k: v for record in ledger.records("summary") for k, v in record["update"].items()}
    points = ledger.points()
    assert config["plain"] == 1
    assert {name: entry["plain"] for name, entry in summary.items()} == {name: name for name in ZOO}
    plain = [value for (key, _), value in sorted(points.items()) if key == "plain"]
    assert plain == [0.5] * len(ZOO) + [1.5]
    left_out = {"long list", "deeper", "endless", "shared"}
    assert ZOO.keys() - config.keys() <= left_out
    keys = {key for key, _ in points} | {record["key"] for record in ledger.records("value")}
    rows = {key.removeprefix("all ").partition(".")[0] for key in keys if key.startswith("all ")}
    assert {name.partition(".")[0] for name in ZOO} - rows <= left_out
    assert "hush" not in repr(config)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.decimals(allow_nan=False), st.fractions(), st.datetimes(), st.uuids(), st.complex_numbers(), st.timedeltas(),
    st.characters(categories=["Cs"]),
)  # fmt: skip
QUICK = sorted(ZOO.keys() - SLOW)


@dataclasses.dataclass(frozen=True)
class Of:
    """One of the zoo, made only in the test: hypothesis looks at what it draws."""

    name: str


def made(drawn: Any) -> Any:
    if isinstance(drawn, Of):
        return ZOO[drawn.name]()
    if isinstance(drawn, list | tuple):
        return type(drawn)(map(made, drawn))
    if isinstance(drawn, dict):
        return {key: made(value) for key, value in drawn.items()}
    if isinstance(drawn, types.SimpleNamespace | collections.UserDict):
        return type(drawn)(part=made(vars(drawn).get("data", vars(drawn))["part"]))
    return drawn


ANYTHING = st.recursive(
    SCALARS | st.sampled_from(QUICK).map(Of),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(SCALARS.filter(lambda key: key == key), inner, max_size=4)
        | inner.map(lambda value: types.SimpleNamespace(part=value))
        | inner.map(lambda value: collections.UserDict(part=value))
    ),
    max_leaves=12,
)


@pytest.mark.timeout(600)
@sized(1_000)
@given(value=ANYTHING)
def test_random_objects_everywhere(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    root = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PENSTOCK_DIR", str(root))
        run = use(made(value))
        run.finish()
        (folder,) = spools_in(root)
    batch = read_batch(folder)
    batch.frames, batch.records = fit_all(batch.frames, batch.records, Room(1 << 40, 1 << 40))
    taken = decode_batch(encode_batch(batch))
    ledger = Ledger()
    ledger.committed = {"w": {1: encode_batch(taken)}}
    check(ledger)
