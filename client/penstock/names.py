"""Ids and readable names for runs that were not given any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from penstock.notices import NOTICES
from penstock.pasted import repaired_name
from penstock.settings import Settings

__all__ = ["friendly_name", "run_id", "shared_id"]

T = TypeVar("T")

_JOB_VARIABLES = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ADJECTIVES = """
amber ample brisk bright calm candid clear crisp deep eager early fair fleet fresh gentle
glad golden grand hardy hazel humble keen kind late lively lucid lunar mellow mild misty
noble quick quiet rapid ready royal rustic sharp silent silver smooth snowy solar spry
steady still stout sunny swift tidal tidy vivid warm wild windy wise
""".split()  # noqa: SIM905 (kept readable)
_NOUNS = """
otter heron falcon badger beaver bison brook canyon cedar comet condor coral crane delta
dingo dolphin eagle elk ember fern finch fjord fox gecko glacier grove gull hare hawk ibis
jaguar kestrel lark lemur lynx maple marten meadow merlin moose newt orca osprey owl panda
pine puffin quail raven reef river robin sable salmon seal spruce stork swan tern trout weir wren
""".split()  # noqa: SIM905


def run_id() -> str:
    return "".join(_chosen(_ALPHABET) for _ in range(8))


def friendly_name() -> str:
    """For example brisk-otter-12."""
    return f"{_chosen(_ADJECTIVES)}-{_chosen(_NOUNS)}-{_chosen(range(1, 100))}"


def shared_id(settings: Settings) -> str | None:
    """The id that all processes of one job derive from the launcher's job id."""
    if settings.mode != "shared":
        return None
    for variable in _JOB_VARIABLES:
        job = os.environ.get(variable, "")
        if job and job != "none":
            try:
                return repaired_name("id", f"{variable.split('_')[0].lower()}-{job}").value
            except ValueError:
                continue
    NOTICES.warn("shared", 'mode="shared" needs one id for all processes: set PENSTOCK_RUN_ID')
    return None


def _chosen(choices: Sequence[T]) -> T:
    # Not `random`: scripts seed it, and two runs with the same seed must not share an id.
    return choices[int.from_bytes(os.urandom(8), "little") % len(choices)]
