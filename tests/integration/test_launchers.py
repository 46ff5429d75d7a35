"""What a launcher starts logs to one run with ranks, and what it starts again resumes that run: only on proof."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from support.launched import HEAD, IN_SCRIPT, PLAIN, Launcher, begun, ended, ranks_of, slurm
from support.ledger import Ledger, cells
from support.marks import SMOKE
from support.scripts import Scripts
from support.spools import wait_until
from support.up import running_up


@pytest.fixture
def launcher(scripts: Scripts, tmp_path: Path) -> Launcher:
    return Launcher(scripts, tmp_path)


TOGETHER = {
    "srun": [slurm(rank, 2) for rank in range(2)],
    "srun that passes RANK on": [slurm(rank, 2, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)],
    "accelerate": [
        {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
         "TORCHELASTIC_RESTART_COUNT": "0", "ACCELERATE_MIXED_PRECISION": "no"}
        for rank in range(2)
    ],
    "deepspeed": [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_SIZE": "2",
         "CROSS_RANK": "0", "CROSS_SIZE": "1"}
        for rank in range(2)
    ],
    "mpirun": [
        {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
         "PMIX_NAMESPACE": "2871787521"}
        for rank in range(2)
    ],
    "mpirun on two hosts": [
        {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
         "PMIX_NAMESPACE": "prterun-node7-1234@1"}
        for rank in range(2)
    ],
    "hydra": [
        {"PMI_RANK": str(rank), "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": str(rank)}
        for rank in range(2)
    ],
    "torchrun on two hosts": [
        {"TORCHELASTIC_RUN_ID": "job-17", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
        for rank in range(2)
    ],
}  # fmt: skip
APART = {
    "torchrun on two hosts without an id": [
        {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
        for rank in range(2)
    ],
    "torchrun in two pods": [
        {"TORCHELASTIC_RUN_ID": "job-17", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
         "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
        for rank in range(2)
    ],
    "Ray Train": [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
         "RAY_JOB_ID": "01000000"}
        for rank in range(2)
    ],
    "mpirun on two hosts, an older one": [
        {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
         "PMIX_NAMESPACE": "2871787521"}
        for rank in range(2)
    ],
    "the setting": [slurm(rank, 2, PENSTOCK_JOIN="false") for rank in range(2)],
    "two steps": [slurm(0, 2), slurm(1, 2, SLURM_STEP_ID="1")],
    "two jobs": [slurm(0, 2), slurm(1, 2, SLURM_JOB_ID="4712")],
    "two clusters": [slurm(0, 2), slurm(1, 2, SLURM_CLUSTER_NAME="other")],
}  # fmt: skip


@pytest.mark.parametrize("how", TOGETHER)
def test_ranks_of_one_launch_are_one_run(launcher: Launcher, ledger: Ledger, how: str) -> None:
    said = launcher.together(PLAIN, TOGETHER[how])
    assert len({(each.run, each.name) for each in said}) == 1
    run = said[0].run
    assert ranks_of(ledger) == {run: {0, 1}}
    wait_until(lambda: ledger.states() == {run: ("finished", 0)})
    assert [each["state"] for each in ledger.records("rank_state")] == ["running", "finished"]


@pytest.mark.parametrize("how", APART)
def test_without_proof_each_has_a_run_of_its_own(
    launcher: Launcher, ledger: Ledger, how: str
) -> None:
    said = launcher.together(PLAIN, APART[how])
    assert len({each.run for each in said}) == 2


def test_that_nothing_proves_it_is_said_once(launcher: Launcher) -> None:
    processes = [launcher.start(PLAIN, **variables) for variables in APART["Ray Train"]]
    said = [
        ended(process).count("nothing proves that they belong together") for process in processes
    ]
    assert said == [0, 1]
    joined = [
        launcher.start(PLAIN, **variables, PENSTOCK_RUN_ID="mine")
        for variables in APART["Ray Train"]
    ]
    texts = [ended(process) for process in joined]
    assert {each.run for text in texts for each in begun(text)} == {"mine"}
    assert not any("nothing proves" in text for text in texts)


def test_other_arguments_are_another_run(launcher: Launcher) -> None:
    variables = TOGETHER["srun"]
    processes = [launcher.start(PLAIN, f"--fold={n}", **variables[n]) for n in range(2)]
    assert len({each.run for p in processes for each in begun(ended(p))}) == 2
    processes = [launcher.start(PLAIN, f"--local_rank={n}", **variables[n]) for n in range(2)]
    assert len({each.run for p in processes for each in begun(ended(p))}) == 1


def test_several_runs_of_each_process(launcher: Launcher, ledger: Ledger) -> None:
    code = f"{HEAD}\nfor fold in range(2):\n    with begin() as run: run.log({{'a': fold}})"
    said = launcher.together(code, TOGETHER["srun"])
    assert Counter(each.run for each in said) == Counter(dict.fromkeys(ranks_of(ledger), 2))
    assert len(ranks_of(ledger)) == 2
    assert set(map(frozenset, ranks_of(ledger).values())) == {frozenset({0, 1})}


@pytest.mark.parametrize("resume", [None, "auto", "allow", "never"])
def test_a_loop_of_five_in_one_job_is_five_runs(
    launcher: Launcher, ledger: Ledger, resume: str | None
) -> None:
    code = f"{HEAD}\nwith begin(resume={resume!r}) as run: run.log({{'a': 1.0}})"
    said = [begun(ended(launcher.start(code, **IN_SCRIPT)))[0] for _ in range(5)]
    assert len({each.run for each in said}) == 5
    assert not any(each.resumed for each in said)


def test_a_requeued_job_resumes_each_of_its_runs(launcher: Launcher, ledger: Ledger) -> None:
    first = [begun(ended(launcher.start(PLAIN, **IN_SCRIPT)))[0] for _ in range(2)]
    again = {**IN_SCRIPT, "SLURM_RESTART_COUNT": "1"}
    second = [begun(ended(launcher.start(PLAIN, **again)))[0] for _ in range(3)]
    assert [each.run for each in second[:2]] == [each.run for each in first]
    assert [each.resumed for each in second] == [True, True, False]
    assert [each.step for each in second] == [3, 3, 0]
    assert len({each.run for each in second}) == 3
    assert [each.name for each in second[:2]] == [each.name for each in first]


def test_a_requeued_step_resumes_its_run(launcher: Launcher, ledger: Ledger) -> None:
    first = launcher.together(PLAIN, [slurm(rank, 2) for rank in range(2)])
    variables = [slurm(rank, 2, SLURM_RESTART_COUNT="1") for rank in range(2)]
    second = launcher.together(PLAIN, variables)
    assert {each.run for each in first} == {each.run for each in second}
    assert [(each.resumed, each.step) for each in second] == [(True, 3)] * 2
    points = {name for name, _ in ledger.points()}
    assert points == {"a0", "a1"}
    assert len(ledger.points()) == 12


def test_a_restarted_script_that_says_its_steps_replaces_from_its_checkpoint(
    launcher: Launcher, ledger: Ledger
) -> None:
    code = f"""{HEAD}
run = begin()
first = 2 if run.resumed else 0
for step in range(first, 4): run.log({{"a": 1.0 + first}}, step=step)
"""
    launcher.together(code, [IN_SCRIPT])
    launcher.together(code, [{**IN_SCRIPT, "SLURM_RESTART_COUNT": "1"}])
    first, second = sorted({(batch.writer_started, batch.writer) for batch in ledger.batches()})
    by_writer = {
        writer: [batch for batch in ledger.batches() if batch.writer == writer]
        for _, writer in (first, second)
    }
    # What it logs again takes the place of what was there.
    assert {batch.start.kind for batches in by_writer.values() for batch in batches} == {""}
    again = [
        cell for batch in by_writer[second[1]] for frame in batch.frames for cell in cells(frame)
    ]
    assert again == [("a", 2, 3.0), ("a", 3, 3.0)]


def test_a_child_of_a_rank_is_not_the_rank(launcher: Launcher, ledger: Ledger) -> None:
    code = f"""{HEAD}
import subprocess
if os.environ.get("CHILD"):
    begin().log({{"child": 1.0}})
    sys.exit()
run = begin()
run.log({{"a": 1.0}})
subprocess.run([sys.executable, *sys.argv], env={{**os.environ, "CHILD": "1"}}, check=True)
if os.fork() == 0:
    penstock.init(project="p", reinit="create_new").log({{"forked": 1.0}})
    sys.exit()
os.wait()
"""
    launcher.together(code, [slurm()])
    wait_until(lambda: len(ledger.states()) == 3)
    keys: dict[str, set[str]] = {}
    for batch in ledger.batches():
        keys.setdefault(batch.run, set()).update(*(frame.keys for frame in batch.frames))
    assert sorted(map(sorted, keys.values())) == [["a"], ["child"], ["forked"]]


def test_init_in_rank_0_only_is_a_run_without_ranks(launcher: Launcher, ledger: Ledger) -> None:
    code = f"""{HEAD}
if rank == "0":
    with begin() as run: run.log({{"a": 1.0}})
"""
    (said,) = launcher.together(code, TOGETHER["srun"])
    assert ranks_of(ledger) == {said.run: {0}}
    assert ledger.states() == {said.run: ("finished", 0)}


def test_init_in_the_last_rank_only_says_how_the_run_ended(
    launcher: Launcher, ledger: Ledger
) -> None:
    code = f"""{HEAD}
if rank == "1":
    run = begin(config={{"lr": 0.1}})
    run.log({{"a": 1.0}})
    sys.exit(3)
"""
    processes = [launcher.start(code, **variables) for variables in TOGETHER["srun"]]
    ended(processes[0])
    (said,) = begun(ended(processes[1], 3))
    states = [(each["state"], each.get("exit_code")) for each in ledger.records("rank_state")]
    assert (ranks_of(ledger), states) == (
        {said.run: {1}},
        [("running", None), ("failed", 3)],
    )
    assert said.name in [each.get("default_name") for each in ledger.records("run")]


def test_rank_0_is_killed_while_the_other_goes_on_and_one_comes_late(
    launcher: Launcher, ledger: Ledger
) -> None:
    code = f"""{HEAD}
run = begin()
run.log({{f"a{{rank}}": 1.0}})
if rank == "0": os.kill(os.getpid(), 9)
print("goes on", flush=True)
if rank == "1": sys.stdin.readline()
run.log({{f"a{{rank}}": 2.0}})
"""
    ranks = [slurm(rank, 3) for rank in range(3)]
    other = subprocess.Popen(
        [sys.executable, launcher.script(code)], env=launcher.environment | ranks[1], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout is not None
    lines = [other.stdout.readline(), other.stdout.readline()]
    (one,) = begun(lines[0])
    ended(launcher.start(code, **ranks[0]), -9)
    wait_until(lambda: ledger.states().get(one.run, ("", 0))[0] == "crashed")
    ended(launcher.start(code, **ranks[2]))  # as late as that
    other.communicate("\n", timeout=30)
    assert ranks_of(ledger) == {one.run: {0, 1, 2}}
    assert ledger.states()[one.run][0] == "crashed"
    assert {("a1", 1), ("a2", 1)} <= set(ledger.points())


def test_offline_nodes_are_one_run_when_they_are_sent(
    launcher: Launcher, ledger: Ledger, tmp_path: Path
) -> None:
    places = [tmp_path / f"node{n}" for n in range(2)]
    ranks = [slurm(n, 2, PENSTOCK_MODE="offline", PENSTOCK_DIR=str(places[n])) for n in range(2)]
    said = launcher.together(PLAIN, ranks)
    for place in places:
        launcher.scripts.penstock("sync", "--dir", str(place))
    assert ranks_of(ledger) == {said[0].run: {0, 1}}


def test_nowhere_to_note_a_launch_is_no_proof(launcher: Launcher, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    said = launcher.together(
        PLAIN, [slurm(n, 2, PENSTOCK_DIR=str(place), TMPDIR=str(tmp_path)) for n in range(2)]
    )
    assert len({each.run for each in said}) == 2


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "options",
    [pytest.param((), marks=SMOKE), pytest.param(("--standalone",), marks=pytest.mark.heavy)],
)
def test_torchrun(launcher: Launcher, ledger: Ledger, options: tuple[str, ...]) -> None:
    """Twice the same command: two runs."""
    code = f"""{HEAD}
import torch, torch.distributed as dist
dist.init_process_group("gloo")
with begin() as run:
    for step in range(5):
        loss = torch.tensor(float(rank) + step)
        dist.all_reduce(loss)
        run.log({{"loss": loss}})
dist.destroy_process_group()
"""
    for number in (1, 2):
        said = begun(launcher.torchrun(code, "--nproc-per-node=2", *options))
        assert len({each.run for each in said}) == 1
        assert len(ranks_of(ledger)) == number
    assert all(ranks == {0, 1} for ranks in ranks_of(ledger).values())
    wait_until(lambda: [*ledger.states().values()] == [("finished", 0)] * 2)


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_torchrun_starts_its_workers_again(launcher: Launcher, ledger: Ledger) -> None:
    code = f"""{HEAD}
run = begin()
for step in range(3): run.log({{f"a{{rank}}": 1.0}})
other = os.path.join(os.environ["PENSTOCK_DIR"], "rank-0-has-logged")
if rank == "0": open(other, "w").close()
if rank == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    while not os.path.exists(other): time.sleep(0.01)
    os.kill(os.getpid(), 9)
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0": time.sleep(60)
run.finish()
"""
    rendezvous = (
        "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--rdzv-id=job-17", "--max-restarts=1",
        "--nproc-per-node=2", "--monitor-interval=0.1",
    )  # fmt: skip
    said = begun(launcher.torchrun(code, *rendezvous))
    assert len({each.run for each in said}) == 1
    assert sorted((each.rank, each.resumed, each.step) for each in said) == [
        ("0", False, 0), ("0", True, 3), ("1", False, 0), ("1", True, 3),
    ]  # fmt: skip
    assert {name: len([1 for key, _ in ledger.points() if key == name]) for name in ("a0", "a1")} == {
        "a0": 6, "a1": 6,
    }  # fmt: skip
    wait_until(lambda: "finished" in [each["state"] for each in ledger.records("state")])
    # Another job with the same id, by mistake, on the same machine.
    other = begun(launcher.torchrun(PLAIN, *rendezvous))
    assert {each.run for each in other}.isdisjoint(each.run for each in said)
    assert not any(each.resumed for each in other)


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_a_server_knows_the_run_of_a_launch(tmp_path: Path) -> None:
    """A step of two ranks that is requeued; and one in which only the last rank logs, killed the first time."""
    last_only = f"""{HEAD}
if rank == "0": sys.exit()
run = begin(config={{"lr": 0.1}})
run.log({{"a": 1.0}})
if not run.resumed: os.kill(os.getpid(), 9)
"""
    with running_up(tmp_path) as up:
        scripts = Scripts(tmp_path / "spool", up.url)
        scripts.environment["PENSTOCK_API_KEY"] = up.api_key
        launcher = Launcher(scripts, tmp_path)

        def about(run: str) -> dict[str, Any]:
            found: dict[str, Any] = {"state": "unknown"}
            with suppress(HTTPError):  # before its first batch
                found = up.get(f"/v1/runs/local/p/{run}")
            return found

        launcher.together(PLAIN, [slurm(rank, 2) for rank in range(2)])
        again_ranks = [slurm(rank, 2, SLURM_RESTART_COUNT="1") for rank in range(2)]
        said = launcher.together(PLAIN, again_ranks)
        run = said[0].run
        assert [(each.resumed, each.step) for each in said] == [(True, 3)] * 2
        wait_until(lambda: about(run)["state"] == "finished")
        assert (about(run)["name"], about(run)["last_step"]) == (said[0].name, 5)

        alone = slurm(1, 2, SLURM_STEP_ID="1")
        (said_alone,) = begun(ended(launcher.start(last_only, **alone), -9))
        wait_until(lambda: about(said_alone.run)["state"] == "crashed")
        (again,) = begun(ended(launcher.start(last_only, **alone, SLURM_RESTART_COUNT="1")))
        assert (again.run, again.resumed, again.step) == (said_alone.run, True, 1)
        wait_until(lambda: about(again.run)["state"] == "finished")
        assert about(again.run)["config"] == {"lr": 0.1}
        assert about(again.run)["name"] == said_alone.name
