"""Where settings come from, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.credentials import credentials_path, default_url, store_key, stored_key
from penstock.names import friendly_name
from penstock.notices import Notices
from penstock.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("WANDB_PROJECT", "WANDB_MODE", "PENSTOCK_PROJECT", "PENSTOCK_MODE", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_order_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.resolve(None, {}).project == "uncategorized"
    monkeypatch.setenv("WANDB_PROJECT", "from-wandb")
    assert Settings.resolve(None, {}).project == "from-wandb"
    monkeypatch.setenv("PENSTOCK_PROJECT", "from-penstock")
    assert Settings.resolve(None, {}).project == "from-penstock"
    assert Settings.resolve(Settings(project="stated"), {}).project == "stated"
    assert Settings.resolve({"project": "stated"}, {"project": "argument"}).project == "argument"


def test_values_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TAGS", "a,b")
    monkeypatch.setenv("PENSTOCK_SPOOL_LIMIT_BYTES", "1000")
    monkeypatch.setenv("PENSTOCK_STRICT", "true")
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    monkeypatch.setenv("SLURM_PROCID", "3")
    settings = Settings.resolve(None, {"resume": True, "base_url": "http://h/"})
    assert settings.tags == ("a", "b")
    assert settings.spool_limit_bytes == 1000
    assert settings.strict
    assert settings.mode == "offline"
    assert settings.rank == 3
    assert settings.resume == "auto"
    assert settings.base_url == "http://h"


def test_what_a_pod_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("PENSTOCK_RANK", "5")
    monkeypatch.setenv("PENSTOCK_FINISH_TIMEOUT_S", "7.5")
    monkeypatch.setenv("PENSTOCK_HOST_NAME", " node-1 ")
    settings = Settings.resolve(None, {})
    assert (settings.rank, settings.finish_timeout_s, settings.host_name) == (5, 7.5, "node-1")
    for wrong in ("a/b", "..", "x" * 256, "a\0b"):
        with pytest.raises(ValueError, match="host_name"):
            Settings(host_name=wrong)
    monkeypatch.setenv("PENSTOCK_HOST_NAME", "../other")
    assert Settings.resolve(None, {}).host_name == ""


def test_impossible_mode() -> None:
    with pytest.raises(ValueError, match="mode"):
        Settings.resolve(None, {"mode": "sideways"})


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(Settings(api_key="secret", project="p"))


def test_keys_by_server() -> None:
    store_key("http://one/", "first")
    store_key("http://two", "second")
    assert stored_key("http://one") == "first"
    assert stored_key("http://three") is None
    assert credentials_path().stat().st_mode & 0o777 == 0o600
    credentials_path().write_text("{")
    assert stored_key("http://one") is None


def test_names() -> None:
    adjective, noun, number = friendly_name().split("-")
    assert adjective.isalpha()
    assert noun.isalpha()
    assert number.isdigit()


def test_notices_are_said_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices()
    for _ in range(100):
        notices.warn("a", "something")
    assert notices.counts == {"a": 100}
    assert capsys.readouterr().err.count("something") == 3


def test_the_last_login_is_the_default() -> None:
    assert default_url() == "http://127.0.0.1:8080"
    store_key("http://up:1", "k")  # a server signs its own user in
    assert default_url() == "http://up:1"
    store_key("http://up:2", "k")
    assert default_url() == "http://up:2"
    store_key("http://tracker", "k", "team", is_chosen=True)
    store_key("http://up:3", "k")  # after a person has chosen one
    assert default_url() == "http://tracker"
    assert stored_key("http://up:3") == "k"
    assert Settings.resolve(None, {}).base_url == "http://tracker"
    assert Settings.resolve({"base_url": "http://other"}, {}).base_url == "http://other"
    store_key("http://second", "k", is_chosen=True)
    assert default_url() == "http://second"


def test_the_entity_is_known_for_the_key_that_was_logged_in_with() -> None:
    store_key("http://tracker", "k", "team", is_chosen=True)
    assert Settings.resolve(None, {}).known_entity == "team"
    assert Settings.resolve(None, {"api_key": "another"}).known_entity is None
    assert Settings.resolve(None, {"entity": "mine"}).known_entity == "mine"
    assert Settings.resolve(None, {"base_url": "http://other"}).known_entity is None
    assert Settings.resolve(None, {}).entity is None  # what is sent goes by the key
