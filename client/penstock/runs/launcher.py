"""Which run the processes of one launch share, and whether a launch is another attempt at an earlier one's.

A launch is what torchrun, srun, mpirun, accelerate or deepspeed starts: processes that have a rank each. They
log to one run if there is proof that they belong together, which is one of these:

- all ranks are on one machine, and the launcher is the same process;
- the job and step of Slurm, or the id given to the launcher, are the same.

In both cases program, arguments, project and the number of the `init` must be the same too. A launch resumes a
run only if Slurm or torchrun has counted a restart; the same launch without one is a new run. Without
proof each process has a run of its own.

What a launcher has started before is noted in small files beside the data, so that a loop of equal scripts in one
job, or a child with its parent's environment, is not taken for the first one.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.bounded import within
from penstock.notices import NOTICES
from penstock.settings import Settings
from penstock.spool.meta import boot_id, pid_namespace
from penstock.spool.root import open_root

__all__ = ["Launched", "launched"]

_FOLDER = "launched"
_MAX_NOTES = 100_000
_MANY_NOTES, _KEPT_S = 5_000, 90 * 86_400.0
"""With so many notes, those that are older are deleted; no job takes that long."""
_MAX_ANCESTORS = 32
_FIRST_SPECIAL_STEP = 0xFFFFFFF0
"""Slurm gives such numbers to what is no step of `srun`: the batch script, an interactive shell."""
_LAUNCHERS = {
    "TORCHELASTIC_RUN_ID": "RANK",
    "CROSS_SIZE": "RANK",
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_RANK",
    "MPI_LOCALNRANKS": "PMI_RANK",
}
"""A variable that only this launcher sets (torchrun and accelerate, deepspeed, Open MPI, Hydra), and that of the
rank."""
_OF_MPI = ("OMPI_COMM_WORLD_RANK", "MPI_LOCALNRANKS")
"""They start processes on other nodes by a step of their own, which those of the first node are not in."""
_LOCAL_RANK = ("--local_rank", "--local-rank")
"""An argument that some launchers add, another one for each process."""

_begun: dict[tuple[str, ...], int] = {}
_begun_in = 0


@dataclass(frozen=True)
class Launched:
    """The run of this process's launch: its id, and whether this is a later attempt at it."""

    run: str
    is_restart: bool


@dataclass(frozen=True)
class _Launch:
    """What the environment says."""

    job: tuple[str, ...]
    """Slurm's cluster, job and step; the step is empty for what runs in the job's script."""
    given: str
    """The id given to the launcher, or made by it."""
    is_on_one_host: bool
    rank: str
    world: int
    requeued: int
    restarted: int
    mark: str
    """A variable that the launcher set for its processes, and does not have itself; empty for an unknown one."""


def launched(settings: Settings) -> Launched | None:
    """The run that this process's launch shares; None without proof of one. Raises nothing."""
    with suppress(Exception):  # the seam: whatever a launcher does, the run begins
        return _launched(settings, os.environ)
    return None


def _launched(settings: Settings, environment: Mapping[str, str]) -> Launched | None:
    number = _number_of_init(settings)
    if number is None:
        return None
    launch = _launch(environment)
    parts = _proof(launch)
    if parts is None:
        if launch.world > 1 and launch.rank == "1":  # once, and not if only rank 0 begins a run
            NOTICES.warn(
                "launch",
                f"each of the {launch.world} processes has a run of its own, since nothing proves that they "
                "belong together; for one run, give all of them the same PENSTOCK_RUN_ID",
            )
        return None
    what = (*parts, *_script(), settings.entity or "", settings.project, str(number))
    root = settings.root
    place = within(str(root), lambda: _notes(root, settings.host_name))
    # In a container of its own, a process does not see its launcher.
    agent = _agent(launch.mark) or "-"
    requeued, restarted = str(launch.requeued), str(launch.restarted)
    if parts[0] != "host":
        # Of several launches with one id, such as a loop in a job's script, this is the nth on this host.
        what = (*what, str(_place_of(agent, place, _hashed(*what, requeued))))
    # Of several processes in one place, such as a loop in a rank's script, this is the nth.
    line = _hashed(*what, agent, launch.rank, requeued, restarted)
    what = (*what, str(_place_of(_process(os.getpid()), place, line)))
    return Launched(_hashed(*what), is_restart=launch.requeued > 0 or launch.restarted > 0)


def _number_of_init(settings: Settings) -> int | None:
    """How many runs this process has begun in the project, with this one; None in a forked child, which the
    launcher did not start."""
    global _begun_in
    _begun_in = _begun_in or os.getpid()
    if _begun_in != os.getpid():
        return None
    name = (settings.entity or "", settings.project)
    _begun[name] = _begun.get(name, 0) + 1
    return _begun[name]


def _launch(environment: Mapping[str, str]) -> _Launch:
    def number(*names: str) -> int:
        texts = (environment.get(name, "") for name in names)
        return next((int(text) for text in texts if text.isascii() and text.isdigit()), 0)

    given = environment.get("TORCHELASTIC_RUN_ID", "").strip()
    if given.lower() in ("", "none"):
        namespace = environment.get("PMIX_NAMESPACE", "")
        given = "" if namespace.isdigit() else namespace  # a bare number is not unique
    mark = next((name for name in _LAUNCHERS if name in environment), "")
    step = environment.get("SLURM_STEP_ID", "")
    is_step = step.isdigit() and int(step) < _FIRST_SPECIAL_STEP and mark not in _OF_MPI
    job: tuple[str, ...] = ()
    if "SLURM_JOB_ID" in environment:
        cluster, number_of_job = (
            environment.get("SLURM_CLUSTER_NAME", ""),
            environment["SLURM_JOB_ID"],
        )
        job = (cluster, number_of_job, step if is_step else "")
        mark = mark or "SLURM_PROCID"
    world = number("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
    local = number("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
    if mark == "CROSS_SIZE":
        local = number("LOCAL_SIZE") if environment["CROSS_SIZE"] == "1" else 0
    elif mark == "SLURM_PROCID":
        world = number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if is_step else world
        local = 0
    return _Launch(
        job=job,
        given=given,
        is_on_one_host=bool(mark) and 0 < world == local,
        rank=environment.get(_LAUNCHERS.get(mark, mark) or "RANK", "0"),
        world=world,
        requeued=number("SLURM_RESTART_COUNT"),
        restarted=number("TORCHELASTIC_RESTART_COUNT"),
        mark=mark,
    )


def _proof(launch: _Launch) -> tuple[str, ...] | None:
    """What all processes of a launch have in common, and nobody else; None if there is nothing."""
    if launch.job:
        is_one = launch.world <= 1 or launch.is_on_one_host or bool(launch.job[-1])
        if not (is_one or launch.given):
            return None
        # On one host the id adds nothing, and it may be another one after a restart.
        return ("slurm", *launch.job, "" if launch.is_on_one_host else launch.given)
    if launch.is_on_one_host:
        agent = _agent(launch.mark)
        return None if agent is None else ("host", os.uname().nodename, agent)
    # A pod that is started again has the same id, without a count of restarts.
    if launch.given and launch.world > 1 and "KUBERNETES_SERVICE_HOST" not in os.environ:
        return ("id", launch.given)
    return None


def _script() -> tuple[str, ...]:
    """Program and arguments, as given to the interpreter: frameworks change `sys.argv`."""
    left = iter(sys.orig_argv[1:])
    kept = []
    for argument in left:
        if argument in _LOCAL_RANK:
            next(left, None)
        elif not argument.startswith(tuple(f"{name}=" for name in _LOCAL_RANK)):
            kept.append(argument)
    return (str(len(kept)), *kept)


def _agent(mark: str) -> str | None:
    """The launcher: the nearest ancestor without the variable that it sets for its processes."""
    for pid in _ancestors():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except PermissionError:  # of another user, such as Slurm's daemon
            return _process(pid)
        except OSError:
            return None
        if not any(entry.startswith(f"{mark}=".encode()) for entry in environment.split(b"\0")):
            return _process(pid)
    return None


def _ancestors() -> Iterator[int]:
    pid = os.getppid()
    for _ in range(_MAX_ANCESTORS):
        if pid <= 0:
            return
        yield pid
        pid = int(_stat(pid)[1])


def _process(pid: int) -> str:
    """A process, as no other one is called, before or after."""
    return f"{boot_id()} {pid_namespace()} {pid} {_stat(pid)[19]}"


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name, which may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _notes(root: Path, host: str) -> Path:
    """The folder for notes. Raises OSError."""
    folder = open_root(root, host) / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with os.scandir(folder) as entries:
        if len(found := list(entries)) > _MANY_NOTES:
            _forget(found, time.time() - _KEPT_S)
    return folder


def _forget(notes: Iterable[os.DirEntry[str]], before: float) -> None:
    for note in notes:
        with suppress(OSError):  # another process may do the same
            if note.stat(follow_symlinks=False).st_mtime < before:
                Path(note.path).unlink()


def _place_of(name: str, folder: Path, line: str) -> int:
    """The place of a name in a line, at whose end it is put if it is not there. Raises OSError."""
    for place in range(_MAX_NOTES):
        note = folder / f"{line}-{place}"
        try:
            note.symlink_to(name)  # made with its content in one step, on any file system
        except FileExistsError:
            if str(note.readlink()) != name:
                continue
        return place
    raise OSError("too many launches")


def _hashed(*parts: str) -> str:
    """20 hexadecimal digits, 80 bits."""
    text = "\0".join(parts).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()[:20]
