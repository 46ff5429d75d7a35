"""A shared object that stands for NVIDIA's library, built from `nvml_stub.c`: called through ctypes like the real one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["build_nvml_stub"]

_SOURCE = Path(__file__).with_name("nvml_stub.c")


def build_nvml_stub(folder: Path) -> Path:
    """Skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    built = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", str(built), str(_SOURCE)], check=True, timeout=60
    )
    return built
