"""The command line of a trial: a sweep's `command` with its macros expanded."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["DEFAULT", "command_line"]

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
_MACRO = re.compile(r"\$\{(\w+)(?::(\w+))?\}")


def command_line(
    command: Sequence[str], program: str, parameters: Mapping[str, Any], folder: Path
) -> list[str]:
    """The words of the command. An `args` macro becomes one word per parameter; other macros may
    occur anywhere in a word. The file of `${args_json_file}` is written to `folder`. Raises
    `Rejected` for an unknown macro or a missing program."""
    return [
        word for part in command or DEFAULT for word in _words(part, program, parameters, folder)
    ]


def _words(part: str, program: str, parameters: Mapping[str, Any], folder: Path) -> Iterator[str]:
    match part:
        case "${args}":
            yield from (f"--{name}={_text(value)}" for name, value in parameters.items())
        case "${args_no_hyphens}":
            yield from (f"{name}={_text(value)}" for name, value in parameters.items())
        case "${args_no_boolean_flags}":
            for name, value in parameters.items():
                if value is True:
                    yield f"--{name}"
                elif value is not False:
                    yield f"--{name}={_text(value)}"
        case _:
            yield _MACRO.sub(lambda found: _macro(found, program, parameters, folder), part)


def _macro(found: re.Match[str], program: str, parameters: Mapping[str, Any], folder: Path) -> str:
    name, detail = found[1], found[2]
    match name:
        case "env":
            return "/usr/bin/env"
        case "interpreter":
            return sys.executable or "python"
        case "program":
            if not program:
                raise Rejected(
                    "the sweep's configuration has no `program`", code=ErrorCode.BAD_SWEEP
                )
            return program
        case "args_json":
            return json.dumps(dict(parameters))
        case "args_json_file":
            path = folder / "args.json"
            path.write_text(json.dumps(dict(parameters)))
            return str(path)
        case "envvar":
            return os.environ.get(detail or "", "")
        case _:
            raise Rejected(f"unknown macro {found[0]!r} in the command", code=ErrorCode.BAD_SWEEP)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
