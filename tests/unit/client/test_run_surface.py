"""A run's calls and attributes as scripts written for W&B use them, without a server."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from omegaconf import OmegaConf
from pydantic import BaseModel
from support.spools import read_batch

import penstock
from penstock.notices import NOTICES
from penstock.runs import session
from penstock.runs.metrics import AlertLevel, MetricDefinition
from penstock.runs.run import Run
from penstock.settings import Settings
from penstock.spool.root import folders_in, roots_at

Start = Callable[..., Run]


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The lines that were printed."""
    lines: list[str] = []
    monkeypatch.setattr(NOTICES, "counts", {})
    monkeypatch.setattr(NOTICES, "say", lines.append)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield lines
    NOTICES.strict = False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts offline runs."""
    made: list[Run] = []

    def begin(config: Any = None, **settings: Any) -> Run:
        unseen = {"console": "off", "facts": "off", "system_metrics": False}
        place = {"mode": "offline", "dir": str(tmp_path / "root"), "project": "p"}
        given = {**unseen, **place, **settings}
        made.append(Run(Settings(**given), config))
        return made[-1]

    yield begin
    for run in made:
        run.finish()


def records(run: Run, kind: str) -> list[dict[str, Any]]:
    assert run._slow_path.drain(20)
    found = read_batch(run._writer.spool().folder).records
    return [dict(record) for record in found if record["t"] == kind]


def test_what_a_run_says_of_itself(start: Start) -> None:
    before = datetime.datetime.now(datetime.UTC).timestamp()
    run = start({"lr": 0.1}, run_id="r1", entity="team", base_url="http://h:1")
    assert run.path == "team/p/r1"
    assert before - 1 <= run.start_time <= before + 60
    assert (run.group, run.job_type, run.sweep_id, run.sweep_url) == ("", "", None, None)
    assert (run.offline, run.disabled, run.resumed, run.starting_step) == (True, False, False, 0)
    assert run.settings.run_id == "r1"
    assert run.settings.run_name is None
    assert run.to_html().startswith("<iframe src='http://h:1/?project=team/p&amp;run=r1'")
    assert not run.display()
    run.finish()
    trial = start(run_id="r2", sweep_id="s", base_url="http://h:1")
    assert (trial.sweep_id, trial.sweep_url) == ("s", "http://h:1/-/p/sweeps/s")


def test_a_path_without_an_entity_is_one_that_the_api_takes(start: Start) -> None:
    assert start(run_id="r1").path == "p/r1"


def test_the_config_as_it_is_read_only(start: Start) -> None:
    run = start({"lr": 0.1, "model": {"depth": 3}})
    frozen = run.config_static
    assert (frozen.lr, frozen["model"]["depth"], [*frozen.keys()]) == (0.1, 3, ["lr", "model"])
    with pytest.raises(AttributeError):
        frozen.lr = 1
    assert run.config.lr == 0.1


def test_each_run_has_a_folder_that_is_no_spool_and_stays(
    start: Start, tmp_path: Path, heard: list[str]
) -> None:
    first, second = start(run_id="lock"), start(run_id="x/../y".replace("/", "-"), project="a b")
    folders = [Path(run.dir) for run in (first, second)]
    assert folders[0] != folders[1]
    for run, folder in zip((first, second), folders, strict=True):
        assert folder.is_dir()
        assert run.dir == run.sync_dir == str(folder)
        (folder / "model.pt").write_bytes(b"weights")
        (folder / "lock").touch()
        (folder / "1.seg").touch()
    assert sum("not uploaded yet" in line for line in heard) == 1
    root = tmp_path / "root"
    assert roots_at(root) == [root]
    assert {each.name for each in folders_in(root)} == {first.writer, second.writer}
    first.finish()
    assert (folders[0] / "model.pt").read_bytes() == b"weights"


def test_another_process_has_the_same_folder(start: Start) -> None:
    run = start()
    folder = run.dir
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).dir)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(run),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.decode().strip() == folder


def test_a_disabled_run_has_a_folder_too(tmp_path: Path) -> None:
    run = Run(Settings(mode="disabled", dir=str(tmp_path / "root")))
    (Path(run.dir) / "x").touch()
    assert not (tmp_path / "root").exists()


def test_an_alert_with_the_same_title_waits(start: Start) -> None:
    run = start()
    for _ in range(20):
        run.alert("loss is NaN", "at this step", AlertLevel.WARN)
    run.alert("loss is NaN", level="ERROR", wait_duration=datetime.timedelta(microseconds=1))
    run.alert("another", wait_duration=3600)
    run.alert("another", wait_duration=3600)
    found = [(each["title"], each["level"]) for each in records(run, "alert")]
    assert found == [("loss is NaN", "WARN"), ("loss is NaN", "ERROR"), ("another", "INFO")]


def test_what_define_metric_returns(start: Start) -> None:
    run = start()
    epoch = run.define_metric("epoch", hidden=True)
    loss = run.define_metric("val/*", step_metric=epoch, summary="min,max")
    assert loss == MetricDefinition("val/*", "epoch", True, None, ("min", "max"))
    assert (epoch.hidden, epoch.step_metric, epoch.step_sync, epoch.summary) == (
        True,
        None,
        False,
        None,
    )
    said = records(run, "define_metric")
    assert said[1] == {
        "t": "define_metric",
        "name": "val/*",
        "step_metric": "epoch",
        "summary": "min,max",
    }


def test_positions_of_arguments(start: Start) -> None:
    """As `run.alert(title, text, level, wait)` and so on."""
    run = start()
    run.define_metric("a", "b", True, True, "max", True)
    assert records(run, "define_metric")[0]["summary"] == "max"
    run.log({"x": 1}, 5, True)
    assert run.step == 6
    run.log({"x": 1}, sync=False)
    assert run.step == 7


def test_config_values_may_change(start: Start) -> None:
    run = start({"lr": 0.1})
    run.config.lr = 0.2
    run.config.update({"lr": 0.3}, allow_val_change=False)
    run.config.update_locked({"lr": 0.4}, "user")
    run.config.merge_locked({"model": {"dim": 3}})
    run.config.persist()
    assert run.config.as_dict() == {"lr": 0.4, "model": {"dim": 3}}


def test_config_values_are_fixed_if_strict(start: Start) -> None:
    run = start({"lr": 0.1}, strict=True)
    run.config.lr = 0.1
    with pytest.raises(
        penstock.errors.ConfigError, match=r"config\.lr is 0\.1 and would become 0\.2"
    ):
        run.config.lr = 0.2
    with pytest.raises(penstock.UsageError):
        run.config.update({"new": 1, "lr": 0.2})
    assert run.config.as_dict() == {"lr": 0.1}
    run.config.update({"lr": 0.2}, allow_val_change=True)
    assert run.config.lr == 0.2
    other = start({"lr": 0.1}, strict=True, allow_val_change=True)
    other.config.lr = 0.2
    assert other.config.lr == 0.2


@dataclasses.dataclass
class Trained:
    lr: float = 0.1
    layers: tuple[int, ...] = (1, 2)


class Model(BaseModel):
    lr: float = 0.1
    layers: list[int] = [1, 2]


def absl_flags() -> Any:
    values: Any = flags.FlagValues()  # type: ignore[no-untyped-call]
    flags.DEFINE_float("lr", 0.1, "", flag_values=values)
    flags.DEFINE_list("layers", ["1", "2"], "", flag_values=values)
    values(["program"])
    return values


CONFIGS: dict[str, Callable[[], Any]] = {
    "argparse": lambda: argparse.Namespace(lr=0.1, layers=[1, 2]),
    "dataclass": Trained,
    "pydantic": Model,
    "omegaconf": lambda: OmegaConf.create({"lr": 0.1, "layers": [1, 2]}),
    "absl": absl_flags,
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_config_from(kind: str, start: Start) -> None:
    run = start(CONFIGS[kind]())
    said: dict[str, Any] = {}
    for record in records(run, "config"):
        said |= record["update"]
    assert (said["lr"], [int(each) for each in said["layers"]]) == (0.1, [1, 2])
    assert run.config.lr == 0.1


def test_settings_by_their_names_in_wandb() -> None:
    given = {
        "run_name": "x", "run_group": "g", "run_job_type": "j", "run_tags": ["t"], "run_notes": "n",
        "finish_timeout": 5, "x_primary": False, "x_label": "node", "host": "h", "quiet": True,
        "root_dir": "/tmp/x", "sweep_id": "s", "https_proxy": "http://p:1",
    }  # fmt: skip
    settings = Settings(**given)
    for name, value in given.items():
        found = getattr(settings, name)
        assert (list(found) if isinstance(found, tuple) else found) == value, name
    assert settings.dir == "/tmp/x/penstock"
    assert (settings.name, settings.host_name, settings.label) == ("x", "h", "node")


def test_settings_without_effect_are_noted_once_and_can_be_read(heard: list[str]) -> None:
    settings = Settings(symlink=False, nonsense=1, start_method="fork", _primary=True)
    assert settings.primary
    assert Settings(symlink=True).symlink is True
    assert (settings.symlink, settings.x_network_buffer) == (False, None)
    assert len(heard) == 2
    assert "symlink' has no effect: files" in heard[1]
    with pytest.raises(AttributeError):
        _ = settings.other_nonsense


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WANDB_HOST": "h", "WANDB_QUIET": "true", "WANDB_DESCRIPTION": "why", "WANDB_SWEEP_ID": "s",
        "WANDB_X_LABEL": "node", "WANDB_RUN_NAME": "x", "WANDB_REINIT": "create_new",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = Settings.resolve(None, {})
    assert (found.host_name, found.quiet, found.notes, found.sweep_id) == ("h", True, "why", "s")
    assert (found.label, found.name, found.reinit) == ("node", "x", "create_new")
    monkeypatch.setenv("WANDB_NAME", "y")
    monkeypatch.setenv("PENSTOCK_NOTES", "because")
    found = Settings.resolve(None, {})
    assert (found.name, found.notes) == ("y", "because")


def test_set_before_init(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTOCK_DIR", str(tmp_path / "root"))
    penstock.config.lr = 0.1
    penstock.config.update({"batch": 64, "model": {"dim": 3}})
    penstock.config["lr"] = 0.2
    penstock.summary["best"] = 1.0
    assert penstock.config.lr == 0.2
    with pytest.raises(
        AttributeError, match=r"call penstock\.init\(\) before penstock\.config\.depth"
    ):
        _ = penstock.config.depth
    with penstock.init(mode="offline", project="p", config={"batch": 32}) as run:
        assert run.config.as_dict() == {"batch": 32, "lr": 0.2, "model": {"dim": 3}}
        assert run.summary["best"] == 1.0
        assert penstock.config is run.config
        assert [each["update"] for each in records(run, "summary")] == [{"best": 1.0}]
    assert dict(penstock.config) == {}


def test_assigned_before_init(tmp_path: Path) -> None:
    """As the guides for Hydra have it."""
    given = {"lr": 0.1, "model": {"dim": 3}}
    penstock.config = given  # type: ignore[assignment]
    with penstock.init(mode="offline", dir=str(tmp_path), project="p") as run:
        assert run.config.as_dict() == given
        assert penstock.config is run.config


def test_before_there_is_a_run() -> None:
    calls: list[Callable[[], object]] = [
        lambda: penstock.log({"a": 1}),
        lambda: penstock.alert("x"),
        penstock.mark_preempting,
    ]
    for call in calls:
        with pytest.raises(penstock.Error, match=r"call penstock\.init\(\) before penstock\."):
            call()
    penstock.finish()
    penstock.join()
    penstock.teardown()
    penstock.ensure_configured()
    penstock.require("core")


def test_setup_and_attach_and_teardown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "_defaults", {})
    settings = Settings(mode="offline", dir=str(tmp_path / "root"), project="p", run_group="g")
    assert penstock.setup(settings).settings.project == "p"
    run = penstock.init(project="q")
    assert (run.project, run.group, run.offline) == ("q", "g", True)
    assert penstock.attach(run.id) is run
    with pytest.raises(penstock.UsageError, match="can be pickled"):
        penstock.attach("another")
    penstock.teardown()
    assert run.finished
    assert penstock.run is None


def test_init_refuses_what_it_cannot_do() -> None:
    with pytest.raises(penstock.NotSupported, match="fork_from needs a server"):
        penstock.init(project="p", fork_from="r?_step=1", mode="offline")
    with pytest.raises(ValueError, match="forked from itself"):
        penstock.init(project="p", id="r", fork_from="r?_step=1")
    penstock.init(project="p", fork_from="r?_step=1", mode="disabled").finish()
    for moment in ("r", "r?_step=x", "?_step=1"):
        with pytest.raises(ValueError, match="resume_from must be"):
            penstock.init(project="p", resume_from=moment, mode="offline")
    with pytest.raises(ValueError, match="cannot be combined"):
        penstock.init(project="p", resume_from="r?_step=1", id="s", mode="offline")
    assert penstock.run is None


def test_arguments_without_effect_are_noted_once_with_the_reason(heard: list[str]) -> None:
    for _ in range(2):
        penstock.init(mode="disabled", monitor_gym=True, tensorboard=False, nonsense=3).finish()
    assert [line for line in heard if "has no effect" in line] == [
        "warning: init(): 'monitor_gym' has no effect: Penstock has no integrations of its own yet",
        "warning: init(): 'nonsense' has no effect in Penstock",
    ]


def test_lines_of_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        penstock.termlog("once", repeat=False)
    penstock.termwarn("careful")
    penstock.termerror("wrong", newline=False, prefix=False)
    assert capsys.readouterr().err == ("penstock: once\npenstock: warning: careful\nerror: wrong")


def test_errors_have_wandbs_names() -> None:
    errors = penstock.errors
    assert penstock.CommError is errors.CommError
    assert issubclass(errors.Rejected, penstock.CommError)
    assert issubclass(errors.Transient, penstock.CommError)
    assert issubclass(errors.AuthenticationError, penstock.CommError)
    assert issubclass(errors.UnsupportedError, penstock.UsageError)
    assert issubclass(penstock.UsageError, penstock.Error)


def test_types_for_annotations() -> None:
    assert penstock.sdk.wandb_run.Run is penstock.wandb_sdk.wandb_run.Run is Run is penstock.Run
    assert penstock.apis.public.Api is penstock.Api
    assert penstock.data_types.Image is penstock.Image
    from penstock.apis.public import Sweep  # noqa: PLC0415

    assert Sweep.__name__ == "ApiSweep"


def test_small_parts_of_util_and_env(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({penstock.util.generate_id() for _ in range(50)}) == 50
    assert len(penstock.util.generate_id(19)) == 19
    assert penstock.util.make_artifact_name_safe("a/b c") == "a_b_c"
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    penstock.env.set_project("from-env")
    assert penstock.env.get_project() == "from-env"
    assert Settings.resolve(None, {}).project == "from-env"
    monkeypatch.delenv("WANDB_PROJECT")
