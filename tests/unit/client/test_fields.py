"""Config and summary: what scripts give, what of it is kept, and what is sent."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import http
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from support.spools import new_writer, read_batch

from penstock.runs.recording import FieldSender, Recorder
from penstock.spool.writer import Writer
from penstock.values.arguments import config_of
from penstock.values.configs import nested_value, swept
from penstock.values.fields import Config, ConfigSelection, Summary
from penstock.values.slowpath import SlowPath


class Sent:
    """A writer's config or summary, and what it sent."""

    def __init__(self, root: Path, kind: str) -> None:
        self._kind = kind
        self._writer: Writer = new_writer(root)
        slow_path = self._writer._slow_path
        assert isinstance(slow_path, SlowPath)
        self._slow_path = slow_path
        self.recorder = Recorder(self._writer, slow_path)
        self.sender = FieldSender(self.recorder, kind)

    def updates(self) -> list[dict[str, Any]]:
        assert self._slow_path.drain(20)
        return [each["update"] for each in self.records() if each["t"] == self._kind]

    def all(self) -> dict[str, Any]:
        """What the run has in the end."""
        return {name: value for update in self.updates() for name, value in update.items()}

    def notices(self) -> dict[str, Any]:
        assert self._slow_path.drain(20)
        return {
            name.removeprefix("notice "): text
            for record in self.records()
            for name, text in record.items()
            if name.startswith("notice ")
        }

    def records(self) -> Sequence[Mapping[str, Any]]:
        return read_batch(self._writer.spool().folder).records


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(tmp_path, "config")


def test_config_takes_what_scripts_give(sent: Sent) -> None:
    config = Config(sent.sender)
    config.update(argparse.Namespace(lr=0.1), batch=2)
    config.update({"model": {"layers": (1, 2)}}, allow_val_change=True)
    config.depth = 3
    config.setdefaults({"depth": 9, "width": 4})
    assert config.setdefault("lr", 5) == 0.1
    assert dict(config) == {
        "lr": 0.1,
        "batch": 2,
        "model": {"layers": (1, 2)},
        "depth": 3,
        "width": 4,
    }
    assert sent.updates()[1] == {"model": {"layers": [1, 2]}}
    assert config.get("none") is None
    with pytest.raises(AttributeError):
        _ = config.none


class Kind(str, enum.Enum):  # noqa: UP042  (as scripts write it)
    ADAM = "adam"


@dataclasses.dataclass
class Optimizer:
    lr: float
    kind: Kind = Kind.ADAM


@pytest.mark.parametrize(
    "whole",
    [
        Optimizer(0.1),
        MappingProxyType({"lr": 0.1, "kind": Kind.ADAM}),
        SimpleNamespace(lr=0.1, kind="adam"),
        [("lr", 0.1), ("kind", "adam")],
    ],
)
def test_a_whole_config_may_be_any_object_with_fields(sent: Sent, whole: Any) -> None:
    config = Config(sent.sender)
    config.update(whole)
    assert (config.lr, config["kind"]) == (0.1, "adam")
    assert sent.all() == {"lr": 0.1, "kind": "adam"}


def test_objects_in_config_become_what_they_hold(sent: Sent) -> None:
    config = Config(sent.sender)
    given = {"optimizer": Optimizer(0.1), "status": http.HTTPStatus.OK, "kinds": [Kind.ADAM]}
    config.update(given)
    assert config["optimizer"] is given["optimizer"]
    assert sent.all() == {
        "optimizer": {"lr": 0.1, "kind": "adam"},
        "status": 200,
        "kinds": ["adam"],
    }


def test_a_later_value_wins_over_one_that_is_still_being_read(sent: Sent) -> None:
    config = Config(sent.sender)
    config["a"] = SimpleNamespace(x=1)
    config["a"] = 5
    config["b"] = SimpleNamespace(x=1)
    assert sent.all() == {"a": 5, "b": {"x": 1}}


def test_plain_parts_are_sent_at_once_and_the_whole_later(sent: Sent) -> None:
    config = Config(sent.sender)
    for turn in range(15):
        given = {"dim": turn, "optimizer": Optimizer(0.1)}
        config.update({"model": given, "lr": turn, tuple([1.0] * 500_000): "odd key"})
        assert sent.all()["model"] == {"dim": turn, "optimizer": {"lr": 0.1, "kind": "adam"}}
    assert sent.all()["lr"] == 14
    first = sent.updates()[0]
    assert first == {"model": {"dim": 0}, "lr": 0}


def test_what_is_no_config_is_left_out(sent: Sent) -> None:
    config = Config(sent.sender)
    config.update(5)
    config.update(object())
    config["lr"] = 0.1
    assert sent.all() == {"lr": 0.1}
    assert "left out" in sent.notices()["config"]


def test_excluded_entries_are_never_sent(sent: Sent) -> None:
    config = Config(sent.sender, ConfigSelection(exclude=["token", "db.password", "o.kind"]))
    config.update({"token": "t", "db": {"password": "p", "user": "u"}, "lr": 0.1})
    config["token"] = "t"
    config.token = "t"
    config.update(SimpleNamespace(token="t", db=SimpleNamespace(password="p", port=5)))
    config["o"] = Optimizer(0.1)
    config["db.password"] = "p"
    assert sent.all() == {"db": {"port": 5}, "lr": 0.1, "o": {"lr": 0.1}}
    assert "p" not in {str(part) for part in config.values()}
    assert "token" not in config


def test_included_entries_are_sent_alone(sent: Sent) -> None:
    config = Config(sent.sender, ConfigSelection(include=["lr", "db.user"]))
    config.update({"token": "t", "db": {"password": "p", "user": "u"}, "lr": {"a": 0.1}})
    assert sent.all() == {"db": {"user": "u"}, "lr": {"a": 0.1}}
    with pytest.raises(ValueError, match="not both"):
        ConfigSelection(exclude=["a"], include=["b"])


def test_summary_shows_logged_values_under_set_ones(tmp_path: Path) -> None:
    sent = Sent(tmp_path, "summary")
    summary = Summary(sent.sender, lambda: {"loss": 0.5, "acc": 0.9})
    assert summary["loss"] == 0.5
    summary["loss"] = 0.1
    summary.update(best=1)
    assert dict(summary) == {"loss": 0.1, "acc": 0.9, "best": 1}
    assert sent.updates() == [{"loss": 0.1}, {"best": 1}]


def test_what_is_set_inside_of_a_summary_value_is_sent(tmp_path: Path) -> None:
    sent = Sent(tmp_path, "summary")
    summary = Summary(sent.sender, dict)
    given = {"x": {"y": 1}}
    summary["deep"] = given
    summary["deep"]["x"]["y"] = 2
    assert summary["deep"] == {"x": {"y": 2}}
    assert given == {"x": {"y": 1}}  # the script's own dict is its own
    assert sent.all() == {"deep": {"x": {"y": 2}}}
    summary["deep"].z = {"new": 1}
    summary["deep"]["z"].update(new=2, more=3)
    summary["deep"]["x"] |= {"w": 4}
    summary["deep"]["x"].pop("y")
    assert sent.all() == {"deep": {"x": {"w": 4}, "z": {"new": 2, "more": 3}}}


def test_config_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "wandb_version: 1\nlr:\n  desc: rate\n  value: 0.1\nmodel: {dim: 2}\nname: NaN\n"
    )
    for given in (str(path), path):
        assert config_of(given) == {"lr": 0.1, "model": {"dim": 2}, "name": "NaN"}
    path.write_text("")
    assert config_of(path) == {}
    same = {"lr": 1}
    assert config_of(same) is same


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "a mapping of names to values"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("wandb_version: 2", "wandb_version 2"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_file_that_holds_no_config_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=said):
        config_of(path)
    with pytest.raises(ValueError, match="cannot be read"):
        config_of(str(tmp_path / "none.yaml"))


def test_texts_of_records_are_texts_and_not_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = Sent(tmp_path, "run")
    recorder = sent.recorder
    recorder.say("run", name="x" * 5_000, group=Kind.ADAM, notes=["a", 1], host="h\udcff")
    recorder.say("alert", title={"a": 1}, text=None, level=SimpleNamespace(x=1), time=5)
    assert sent.notices()["run.name"] == "cut to 4,096 of 5,000 characters"
    assert __file__ in capsys.readouterr().err
    run = next(each for each in sent.records() if each["t"] == "run" and "name" in each)
    alert = next(each for each in sent.records() if each["t"] == "alert")
    assert (run["name"], run["group"], run["notes"]) == ("x" * 4_096, "adam", '["a", 1]')
    assert run["host"] == "h?"
    assert (alert["title"], alert["level"], alert["time"]) == ('{"a": 1}', '{"x": 1}', 5)


def test_nested_entries_are_read_in_every_way(sent: Sent) -> None:
    given = {"model": {"dim": 2, "lr": 0.1, "head": {"n": 1}}, "seed": 1}
    config = Config(sent.sender)
    config.update({**given, **swept(given, {"model.dim": 8})})
    assert config["model"]["dim"] == config["model.dim"] == config.model.dim == 8
    assert config["model.head.n"] == config.model.head["n"] == 1
    assert sent.all()["model"] == {"dim": 8, "lr": 0.1, "head": {"n": 1}}
    for missing in ("model.none", "seed.a", "none.a", "model.dim.a", "."):
        with pytest.raises(KeyError):
            config[missing]
        assert config.get(missing) is None
    with pytest.raises(KeyError):
        nested_value({}, "a.b")
