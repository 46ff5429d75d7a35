"""Where the packages of the extra `deploy` are missing, as for the quick tests, these are not even imported."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

_ARE_INSTALLED = find_spec("helm_python") is not None

# Programs that come in wheels are found after those of the machine.
os.environ["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"

collect_ignore_glob = [] if _ARE_INSTALLED else ["test_*.py"]


def pytest_report_header() -> str:
    return "" if _ARE_INSTALLED else "tests/deploy needs what `make .venv/.deploy` installs"
