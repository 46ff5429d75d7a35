"""Readable names for runs that were not given any, and the id that the processes of a job share."""

from __future__ import annotations

import hashlib
import os

from penstock.ids import choose
from penstock.pasted import repaired_name
from penstock.settings import Settings

__all__ = ["friendly_name", "name_of", "shared_id"]

_JOB_VARIABLES = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")

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


def friendly_name() -> str:
    """For example brisk-otter-12."""
    return f"{choose(_ADJECTIVES)}-{choose(_NOUNS)}-{choose(range(1, 100))}"


def name_of(run: str) -> str:
    """The same name for a run's id in every process."""
    number = int.from_bytes(hashlib.sha256(run.encode(errors="surrogatepass")).digest()[:8], "big")
    number, noun = divmod(number, len(_NOUNS))
    number, adjective = divmod(number, len(_ADJECTIVES))
    return f"{_ADJECTIVES[adjective]}-{_NOUNS[noun]}-{1 + number % 99}"


def shared_id(settings: Settings) -> str | None:
    """With `mode="shared"`, the id that all processes of one job derive from the launcher's job id."""
    if settings.mode != "shared":
        return None
    for variable in _JOB_VARIABLES:
        job = os.environ.get(variable, "")
        if job and job != "none":
            try:
                return repaired_name("id", f"{variable.split('_')[0].lower()}-{job}").value
            except ValueError:
                continue
    return None
