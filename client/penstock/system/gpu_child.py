"""`python -m penstock.system.gpu_child`: a line of JSON about the GPUs for each line on standard input.

A process of its own, since a call of a GPU driver may hang for good or end the process that made it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from penstock.system.amd import AmdGpus
from penstock.system.nvml import LIBRARY, Nvml, NvmlError

LIBRARY_VARIABLE = "PENSTOCK_NVML_LIBRARY"


def main() -> None:
    problem, nvidia = "", None
    try:
        nvidia = Nvml(os.environ.get(LIBRARY_VARIABLE) or LIBRARY)
    except NvmlError as error:
        problem = str(error)
    amd = AmdGpus()

    def measure() -> list[dict[str, Any]]:
        gpus = nvidia.measure(time.monotonic()) if nvidia is not None else []
        return [*gpus, *amd.measure()]

    _serve(measure, problem)


def _serve(measure: Callable[[], list[dict[str, Any]]], problem: str) -> None:
    for _ in sys.stdin:
        answer = {"gpus": measure(), "problem": problem}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
