"""What becomes of a run's data when its container, pod, node or network fails: real training scripts as containers
(pid, mount and network namespaces, a read-only root, users of their own), and a real `penstock up`.

A script notes each step in a file of its volume after `log()` has returned. At the end every noted row is stored,
once and with its value, and `penstock verify` says so; before, it says what is missing and where it lies.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from support.training_node import Container, Network, Node, new_network, new_node
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

EPILOG = Path(__file__).parents[2] / "deploy/training/slurm-epilog.sh"
PATIENCE_S = 90.0
USER, OTHER_USER = 20_001, 20_002
KEYS = 4
"""Points of each row."""

PRELUDE = f"""
import os, signal, struct, sys, time
import penstock
notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def log(run, number, **options):
    run.log({{f"k{{i}}": number + i / 64 for i in range({KEYS})}}, **options)
    os.write(notes, struct.pack("<q", number))
"""
# Logs for ever, or up to a step at which it finishes.
TRAIN = f"""{PRELUDE}
last = int(os.environ.get("LAST", 1 << 40))
with penstock.init() as run:
    print("first step", run.step, flush=True)
    while run.step < last:
        log(run, run.step)
        time.sleep(0.002)
"""
# The same from a checkpoint: it says each step itself.
FROM_CHECKPOINT = f"""{PRELUDE}
last = int(os.environ.get("LAST", 1 << 40))
with penstock.init() as run:
    for step in range(int(os.environ["FIRST"]), last):
        log(run, step, step=step)
        time.sleep(0.002)
"""
# As a careful script: SIGTERM ends the loop, and `finish` comes at the exit.
CAREFUL = f"""{PRELUDE}
def leave(number, frame): sys.exit(143)
signal.signal(signal.SIGTERM, leave)
last = int(os.environ.get("LAST", 1 << 40))
run = penstock.init()
print("first step", run.step, flush=True)
while run.step < last:
    log(run, run.step)
    time.sleep(0.002)
"""
# Starts eight ranks of a job, as torchrun does, and kills two of them.
EIGHT_RANKS = f"""
import os, signal, subprocess, sys, time
folder, last = os.environ["FOLDER"], int(os.environ["LAST"])
rank_code = {TRAIN!r}
def notes_of(rank): return f"{{folder}}/notes-{{rank}}"
ranks = [
    subprocess.Popen(
        [sys.executable, "-c", rank_code],
        env={{**os.environ, "RANK": str(rank), "WORLD_SIZE": "8", "NOTES": notes_of(rank)}},
    )
    for rank in range(8)
]
for victim in (3, 5):
    while not os.path.exists(notes_of(victim)) or os.path.getsize(notes_of(victim)) < 8 * 50:
        assert ranks[victim].poll() is None
        time.sleep(0.01)
    ranks[victim].kill()
print([rank.wait() for rank in ranks], flush=True)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("pods"), "--host", "0.0.0.0") as up:  # noqa: S104
        yield up


@pytest.fixture
def network() -> Iterator[Network]:
    with new_network() as made:
        yield made


@pytest.fixture
def node(up: Up, network: Network) -> Iterator[Node]:
    with new_node(environ_of(up, network.address), network) as made:
        yield made


def environ_of(up: Up, address: str) -> dict[str, str]:
    return {
        "PENSTOCK_BASE_URL": f"http://{address}:{urlsplit(up.url).port}",
        "PENSTOCK_API_KEY": up.api_key,
        "PENSTOCK_RESUME": "allow",
        "PENSTOCK_ON_FULL": "drop",
        "PENSTOCK_FINISH_TIMEOUT_S": "60",
    }


@dataclass(frozen=True)
class Job:
    """A run on a node: its volume, and where its containers note what they logged."""

    node: Node
    up: Up
    volume: Path
    spool: Path
    project: str
    run: str
    uid: int = USER

    def environ(self, **more: str) -> dict[str, str]:
        return {
            "PENSTOCK_PROJECT": self.project,
            "PENSTOCK_RUN_ID": self.run,
            "PENSTOCK_DIR": str(self.spool),
            "NOTES": str(self.notes),
            **more,
        }

    @property
    def notes(self) -> Path:
        return self.volume / f"notes-{self.project}-{self.run}"

    def start(self, code: str, pod: str, **more: str) -> Container:
        environ: dict[str, Any] = self.environ(**more)
        return self.node.start(code, pod=pod, uid=self.uid, writable=(self.volume,), **environ)

    def noted(self, path: Path | None = None) -> list[int]:
        raw = (path or self.notes).read_bytes() if (path or self.notes).exists() else b""
        return [step for (step,) in struct.iter_unpack("<q", raw[: len(raw) // 8 * 8])]

    def until_noted(self, more: int) -> None:
        """Wait for this number of further rows."""
        enough = len(self.noted()) + more

        def has_enough() -> bool:
            running = [each for each in self.node.containers if each.process.poll() is None]
            assert running, self.node.containers[-1].said()
            return len(self.noted()) >= enough

        wait_until(has_enough, PATIENCE_S)

    def verify(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """`penstock verify` in another container of that user on the node."""
        command = [
            "penstock.cli", "verify", f"{self.project}/{self.run}", "--json",
            "--timeout", str(timeout_s), "--dir", str(self.spool),
        ]  # fmt: skip
        container = self.node.start(
            command, pod="verifies", uid=self.uid, writable=(self.volume,),
            PENSTOCK_SILENT="1",
        )  # fmt: skip
        status = container.wait()
        said = container.said()
        assert "{" in said, said
        report: dict[str, Any] = json.loads(said[said.index("{") : said.rindex("}") + 1])
        assert status == (0 if report["clean"] else 1)
        return report

    def assert_told_what_is_kept(self) -> None:
        """While the server cannot be reached: no logged row is left out, and its place is named."""
        report = self.verify(1.0)
        assert "cannot reach" in report["silence"]
        kept = report["stored"] + report["missing"] + report["unsent"]
        # `log` may have written a row that the script did not live to note.
        assert kept // KEYS in range(self.logged_rows(), self.logged_rows() + self.attempts() + 1)
        assert report["missing"] + report["unsent"] > 0
        places = {each["kept_in"] for each in report["writers"]} - {""}
        assert places
        assert all(Path(place).parent == self.spool for place in places)

    def verify_while_it_logs(self) -> None:
        """While it is cut off and still logs, `verify` names the state, the reason and the place."""
        report = self.verify(1.0)
        assert "cannot reach" in report["silence"]
        assert {Path(each["kept_in"]).parent for each in report["writers"]} == {self.spool}
        assert report["missing"] + report["unsent"] > 0
        (spool,) = self.status()["spools"]
        assert spool["state"] == "live"
        assert spool["size_bytes"] > 0

    def until_the_reason_is_known(self) -> None:
        """A request in flight when the network went learns it only when its time is over."""
        wait_until(lambda: "cannot reach" in self.status()["spools"][0]["problem"], PATIENCE_S)

    def status(self) -> dict[str, Any]:
        """`penstock status` of that user on the node."""
        command = ["penstock.cli", "status", "--json", "--dir", str(self.spool)]
        said = self.node.run(command, uid=self.uid, writable=(self.volume,))
        found: dict[str, Any] = json.loads(said)
        return found

    def sync(self, status: int) -> str:
        """`penstock sync` of that user."""
        command = ["penstock.cli", "sync", "--dir", str(self.spool), "--timeout", "60"]
        return self.node.run(command, status, uid=self.uid, writable=(self.volume,))

    def start_agent(self) -> Container:
        """That user's agent on the node."""
        command = ["penstock.cli", "sync", "--stay", "--dir", str(self.spool)]
        return self.node.start(command, pod="agent", uid=self.uid, writable=(self.volume,))

    def attempts(self) -> int:
        return len([each for each in self.spool.iterdir() if (each / "meta.json").exists()])

    def logged_rows(self) -> int:
        return len(self.noted())

    def assert_complete(self, *notes: Path) -> None:
        """Every noted row is stored, once and with its value; nothing is there that was not logged."""
        report = self.verify()
        counts = {
            name: report[name] for name in ("missing", "duplicate", "altered", "phantom", "unsent")
        }
        assert counts == dict.fromkeys(counts, 0), report
        assert report["clean"], report
        assert not [each for each in report["writers"] if not each["is_from_here"]]
        stored = Counter(self.rows())
        noted = Counter(step for path in (notes or (self.notes,)) for step in self.noted(path))
        assert not noted - stored, "lost"
        # One row for each process that was killed between `log` and its note.
        assert (stored - noted).total() <= len(report["writers"])

    def rows(self, lanes: str = "all") -> Iterator[int]:
        """The step of every row in the store, whose values are as logged."""
        path = f"/v1/runs/local/{self.project}/{self.run}/history?lanes={lanes}"
        for row in read_rows(self.up, path):
            step = row["_step"]
            assert [row[f"k{i}"] for i in range(KEYS)] == [step + i / 64 for i in range(KEYS)]
            yield step

    def state(self) -> str:
        try:
            found = self.up.get(f"/v1/runs/local/{self.project}/{self.run}")
        except HTTPError as error:
            if error.code != 404:
                raise
            return ""
        return str(found["state"])

    def until_stored(self) -> None:
        """Wait until the server has some of it."""
        wait_until(lambda: self.state() == "running", PATIENCE_S)


def read_rows(up: Up, path: str) -> Iterator[dict[str, Any]]:
    request = Request(f"{up.url}{path}", headers={"Authorization": f"Bearer {up.api_key}"})
    with urlopen(request, timeout=60) as reply:
        for line in reply:
            row = json.loads(line)
            if "_step" in row:
                yield row


def job_on(node: Node, up: Up, volume: Path, run: str, *, uid: int = USER) -> Job:
    return Job(node, up, volume, volume / "penstock", "pods", run, uid)


@pytest.mark.smoke
def test_a_killed_container_is_restarted_on_its_empty_dir(
    up: Up, node: Node, network: Network
) -> None:
    """-9 of everything in it, the shipper too, while the node is cut off; the next container sends both."""
    job = job_on(node, up, node.volume("empty-dir"), "restarted")
    first = job.start(TRAIN, "job-x1")
    job.until_stored()
    network.cut()
    job.until_noted(200)
    first.kill()
    job.assert_told_what_is_kept()
    network.repair()
    before = job.logged_rows()
    second = job.start(TRAIN, "job-x1", LAST=str(before + 300))
    assert second.wait() == 0, second.said()
    # It knows the last step of the attempt before it, although no shipper had sent that yet.
    assert f"first step {before}" in second.said() or f"first step {before + 1}" in second.said()
    assert job.state() == "finished"
    job.assert_complete()
    assert Counter(job.rows("latest")) == Counter(range(before + 300))


def test_an_evicted_pods_spool_is_sent_by_that_users_next_pod_and_no_other(
    up: Up, node: Node, network: Network
) -> None:
    """Two users' pods are evicted from a node. Another pod of the one sends what the first left there, and
    never touches what the other left: that needs a pod, or the agent, of the other."""
    mine = job_on(node, up, node.volume("mine", USER), "evicted")
    theirs = job_on(node, up, node.volume("theirs", OTHER_USER), "evicted-too", uid=OTHER_USER)
    pods = [mine.start(TRAIN, "mine-x1"), theirs.start(TRAIN, "theirs-x1")]
    for job in (mine, theirs):
        job.until_stored()
    network.cut()
    for job in (mine, theirs):
        job.until_noted(200)
    for pod in pods:
        pod.kill()
    mine.assert_told_what_is_kept()
    theirs.assert_told_what_is_kept()
    network.repair()
    untouched = files_of(theirs.spool)
    # Another run of the same user.
    following = job_on(node, up, mine.volume, "following")
    assert following.start(TRAIN, "mine-x2", LAST="100").wait() == 0
    mine.assert_complete()
    following.assert_complete()
    assert mine.state() == "crashed"
    assert files_of(theirs.spool) == untouched
    # Root does not read it either.
    said = node.run(
        ["penstock.cli", "sync", "--dir", str(theirs.spool)], 1, uid=0, is_read_only=False
    )
    assert f"belongs to user {OTHER_USER}" in said
    assert files_of(theirs.spool) == untouched
    agent = theirs.start_agent()
    wait_until(lambda: theirs.state() == "crashed", PATIENCE_S)
    theirs.assert_complete()
    agent.terminate()
    assert agent.wait() == 0, agent.said()


def files_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that would show that somebody was there."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }  # fmt: skip


def test_a_node_without_network_for_a_while(up: Up, node: Node, network: Network) -> None:
    """Training goes on, `verify` and `status` say why nothing arrives, and afterwards all of it does."""
    job = job_on(node, up, node.volume("spool"), "cut-off")
    pod = job.start(TRAIN, "job-x1")
    job.until_stored()
    for outage in range(2):
        network.cut()
        job.until_noted(300)
        job.verify_while_it_logs()
        if outage:
            job.until_the_reason_is_known()
        network.repair()
        job.until_noted(300)
    pod.terminate()  # process 1 without a handler: it goes on, as it would without Penstock
    job.until_noted(100)
    wait_until(lambda: job.state() == "preempting", PATIENCE_S)
    pod.kill()
    agent = job.start_agent()
    job.assert_complete()
    assert job.state() == "preempting"
    agent.kill()


def test_a_node_that_is_drained_for_good(up: Up, node: Node, network: Network) -> None:
    """Its folder is copied to another machine, whose owner is another user, and sent from there."""
    job = job_on(node, up, node.volume("spool"), "drained")
    pod = job.start(TRAIN, "job-x1")
    job.until_stored()
    network.cut()
    job.until_noted(300)
    pod.kill()
    job.assert_told_what_is_kept()
    with new_node(environ_of(up, network.address)) as other:
        volume = other.volume("copy")
        there = replace(job, node=other, volume=volume, spool=volume / "penstock", uid=30_001)
        shutil.copytree(job.spool, there.spool, ignore=shutil.ignore_patterns("shipper.bell"))
        shutil.copy(job.notes, there.notes)
        shutil.rmtree(job.volume)  # the node is gone
        said = there.sync(1)
        assert "belongs to user 0" in said
        for path in (there.spool, *there.spool.rglob("*")):
            os.chown(path, there.uid, there.uid)
        assert "everything is stored" in there.sync(0)
        there.assert_complete()
        assert there.state() == "crashed"


@pytest.mark.smoke
def test_eight_ranks_of_one_job_some_of_them_killed(up: Up, node: Node) -> None:
    job = job_on(node, up, node.volume("spool"), "ranks")
    last = 400
    pod = job.start(
        EIGHT_RANKS, "job-x1", PENSTOCK_MODE="shared", FOLDER=str(job.volume), LAST=str(last)
    )
    assert pod.wait() == 0, pod.said()
    assert "[0, 0, 0, -9, 0, -9, 0, 0]" in pod.said()
    notes = [job.volume / f"notes-{rank}" for rank in range(8)]
    agent = job.start_agent()
    job.assert_complete(*notes)
    agent.kill()
    assert job.state() == "finished"  # as rank 0 says
    writers = up.get(f"/v1/runs/local/{job.project}/{job.run}/ledger")["writers"]
    assert sorted(each["rank"] for each in writers) == list(range(8))
    for each in writers:
        rows = len(job.noted(notes[each["rank"]]))
        assert each["points_stored"] // KEYS in (rows, rows + 1)
        assert (rows == last) == (each["rank"] not in (3, 5))


def test_a_job_that_goes_back_to_its_checkpoint(up: Up, node: Node) -> None:
    """Without `resume`: what was logged after the checkpoint is replaced in the latest attempt, and kept."""
    job = job_on(node, up, node.volume("spool"), "checkpoint")
    first = job.start(FROM_CHECKPOINT, "job-x1", FIRST="0", PENSTOCK_RESUME="")
    job.until_noted(250)
    first.kill()
    reached = job.logged_rows()
    second = job.start(
        FROM_CHECKPOINT, "job-x2", FIRST="100", LAST=str(reached + 100), PENSTOCK_RESUME=""
    )
    assert second.wait() == 0, second.said()
    job.assert_complete()
    assert Counter(job.rows("latest")) == Counter(range(reached + 100))
    assert job.state() == "finished"


@pytest.mark.parametrize("code", [TRAIN, CAREFUL], ids=["no-handler", "handler"])
def test_slurm_requeues_a_job(up: Up, node: Node, network: Network, code: str) -> None:
    """SIGTERM to every process, the shipper too; SIGKILL after the grace; the epilog sends the rest, and the
    requeued job, with the same id, continues the run."""
    run = "slurm-handler" if code == CAREFUL else "slurm-plain"
    job_id = run.removeprefix("slurm-")
    volume = node.volume("var-tmp")
    job = Job(node, up, volume, volume / f"penstock-{USER}", "pods", run)
    slurm = {"PENSTOCK_MODE": "shared", "PENSTOCK_RUN_ID": "", "SLURM_JOB_ID": job_id}
    slurm |= {"SLURM_PROCID": "0", "PENSTOCK_FINISH_TIMEOUT_S": "1"}
    first = job.start(code, "node-1", **slurm)
    job.until_stored()
    network.cut()
    job.until_noted(100)
    first.signal_all(signal.SIGTERM)
    if code == CAREFUL:
        first.wait()
    else:  # as process 1 it is not ended by the signal
        job.until_noted(50)
    first.kill()
    job.assert_told_what_is_kept()
    network.repair()
    epilog = f"import subprocess\nsubprocess.run([{str(EPILOG)!r}], check=True, timeout=100)"
    node.run(
        epilog, uid=0, is_read_only=False, SLURM_JOB_UID=str(USER), SLURM_JOB_GID=str(USER),
        PENSTOCK_SPOOLS=f"{volume}/penstock-", PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    wait_until(lambda: job.state() in ("preempting", "failed"), PATIENCE_S)
    assert job.state() == ("failed" if code == CAREFUL else "preempting")
    job.assert_complete()
    reached = job.logged_rows()
    second = job.start(
        code, "node-1", LAST=str(reached + 100), **{**slurm, "PENSTOCK_FINISH_TIMEOUT_S": "60"},
        SLURM_RESTART_COUNT="1",
    )  # fmt: skip
    assert second.wait() == 0, second.said()
    assert job.state() == "finished"
    job.assert_complete()
    assert Counter(job.rows("latest")) == Counter(range(reached + 100))
