"""How much the fuzzers and the property tests try, and how what they find is kept.

`FUZZ_SCALE` multiplies the sizes that a pull request is checked with: `make fuzz` sets 1, CI a fiftieth,
and `make test` alone runs a two-hundredth. Without `FUZZ_SEED` every run tries the same cases.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from support.marks import SMOKE

from penstock.errors import Rejected

__all__ = ["CORPUS", "cases", "corpus", "kept", "or_refused", "seeds", "sized", "source"]

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
_SCALE = float(os.environ.get("FUZZ_SCALE", "0.005"))
_SEED = os.environ.get("FUZZ_SEED", "")
_FEWEST = 10


def cases(full: int, *, fewest: int = _FEWEST) -> int:
    """How many cases to try where a pull request is checked with `full`."""
    return max(min(full, fewest), round(full * _SCALE))


def seeds(count: int, *, smoke: int, quick: int = 1) -> list[pytest.ParameterSet]:
    """Numbers for a parameter `seed`: `quick` of them in every run of the tests, `smoke` in CI, all in the
    heavy run."""
    marks = [()] * quick + [SMOKE] * (smoke - quick) + [[pytest.mark.heavy]] * (count - smoke)
    return [pytest.param(seed, marks=each) for seed, each in enumerate(marks)]


def source(name: str) -> random.Random:
    """The random numbers of one fuzzer."""
    return random.Random(f"{_SEED}/{name}")


def sized(full: int, *, steps: int = 50) -> settings:
    """Hypothesis' settings for a property that a pull request is checked with `full` times."""
    return settings(
        max_examples=cases(full),
        stateful_step_count=steps,
        deadline=None,
        derandomize=not _SEED,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def corpus(folder: str) -> dict[str, bytes]:
    """What earlier runs found, and what was put there by hand, by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / folder).glob("*.bin"))}


@contextmanager
def kept(folder: str, case: bytes) -> Iterator[None]:
    """If this block fails, its error says how to add the case to the corpus."""
    try:
        yield
    except BaseException as error:
        name = hashlib.sha256(case).hexdigest()[:12]
        text = base64.b64encode(gzip.compress(case, mtime=0)).decode()
        keep = f"tests/fuzz/corpus/{folder}/{name}.bin"
        error.add_note(f"To keep this case: echo {text} | base64 -d | gunzip > {keep}")
        raise


def or_refused(
    call: Callable[ArgumentsT, ResultT], *args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs
) -> ResultT | None:
    """What the call returns; None if it refuses, in the way that refusals are to be."""
    try:
        return call(*args, **kwargs)
    except Rejected as error:
        refused = error
    assert 400 <= refused.status < 500
    assert refused.code
    assert refused.hint
    return None
