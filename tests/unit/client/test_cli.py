"""The command line, as far as it needs no server."""

from __future__ import annotations

import argparse
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from penstock import __version__, cli


def entries(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    found = [EntryPoint(value, value, "penstock.commands") for value in values]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"penstock {__version__}\n"


def test_a_server_command_without_the_server_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries(monkeypatch, "no_such_module.cli:add_commands")
    assert cli.main(["up"]) == 1
    said = capsys.readouterr().err
    assert "penstock[server]" in said
    assert len(said.splitlines()) == 1


def test_commands_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    entries(monkeypatch, "unit_cli_commands:add_commands")
    ran: list[argparse.Namespace] = []

    def add_commands(subparsers: Any) -> None:
        subparsers.add_parser("extra").set_defaults(run=lambda parsed: ran.append(parsed))

    monkeypatch.setattr(EntryPoint, "load", lambda entry: add_commands)
    assert cli.main(["extra"]) == 0
    assert len(ran) == 1
