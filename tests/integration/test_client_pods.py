"""The client in containers: other names, other user ids, keys that were replaced, folders of several hosts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.disks import small_disk
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import Senders, drive, new_writer, wait_until
from support.training_node import new_node

import penstock.shipper.outcomes as outcomes_module
from penstock.errors import PenstockError
from penstock.link import Link
from penstock.runs.launch import is_shipper_running, shipper_of
from penstock.runs.places import MEMORY_LIMIT_BYTES, first_that_works
from penstock.settings import Settings
from penstock.spool.claims import Claim, is_claimed
from penstock.spool.meta import load_meta, pid_namespace
from penstock.spool.root import host_root, open_root, roots_at, spools_in

NETWORK = """
import penstock.spool.root
penstock.spool.root.is_network = lambda folder: True
"""
"""Prefix of a script whose folder lies on a network file system."""
LOGGED = "run = penstock.init(project='p', id='r')\nfor s in range(10): run.log({'a': float(s)})\n"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs to give folders away")


# ---- keys


def test_a_pod_sends_with_its_own_key_if_the_old_one_was_replaced(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, sender_of: Senders
) -> None:
    """The pod before it had the key that has been replaced since."""
    monkeypatch.setattr(outcomes_module, "KEY_RETRY_S", 0.05)
    monkeypatch.setenv("PENSTOCK_BASE_URL", ledger.url)
    monkeypatch.setenv("PENSTOCK_API_KEY", "good")
    writer = new_writer(tmp_path, ledger.url, api_key="replaced")
    for step in range(10):
        writer.log({"a": float(step)}, step)
    folder = writer.spool().folder
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.done)
    assert len(ledger.points()) == 10


@pytest.mark.parametrize("key", ["", "replaced"])
def test_the_environments_key_is_only_for_its_own_server(
    tmp_path: Path,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    sender_of: Senders,
    key: str,
) -> None:
    monkeypatch.setattr(outcomes_module, "KEY_RETRY_S", 0.05)
    monkeypatch.setenv("PENSTOCK_BASE_URL", "http://another.example.org")
    monkeypatch.setenv("PENSTOCK_API_KEY", "good")
    writer = new_writer(tmp_path, ledger.url, api_key=key)
    writer.log({"a": 1.0}, 0)
    folder = writer.spool().folder
    writer.close()
    sender = sender_of(folder)
    drive(sender, lambda: sender.progress.problem_code != "")
    for _ in range(20):
        sender.turn()
    assert not ledger.points()


def test_certificates_of_another_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "ca.pem"
    mine.write_text("")
    theirs = str(tmp_path / "theirs.pem")
    writer = new_writer(open_root(tmp_path / "root"), ca_file=theirs)
    meta = load_meta(writer.spool().folder)
    writer.close()
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    assert Link.of(meta)._ca_file == theirs
    monkeypatch.setenv("PENSTOCK_CA_FILE", str(mine))
    assert Link.of(meta)._ca_file == str(mine)
    Path(theirs).write_text("")
    assert Link.of(meta)._ca_file == theirs


# ---- folders


def test_memory_of_a_container_is_left_to_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers have 64 MiB of shared memory, which the workers of a data loader need."""
    limits: list[int] = []
    with small_disk(tmp_path / "shm", "64m") as shm:
        monkeypatch.setattr("penstock.runs.places._MEMORY", shm.folder)
        first_that_works(Settings(dir=shm.folder / "kept"), lambda _, limit: limits.append(limit))
    assert limits == [8 << 20]
    assert limits[0] < MEMORY_LIMIT_BYTES


def test_each_host_has_its_folder_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.spool.root.is_network", lambda folder: True)
    assert open_root(tmp_path) == tmp_path / os.uname().nodename
    assert open_root(tmp_path, "rank-3") == tmp_path / "rank-3"
    assert open_root(tmp_path / "rank-3", "rank-3") == tmp_path / "rank-3"
    assert host_root(tmp_path, "rank-3") == tmp_path / "rank-3"


def test_the_folders_of_all_hosts_are_found(tmp_path: Path) -> None:
    """Also in a copy on a local disk; those of other users raise."""
    assert roots_at(tmp_path / "new") == [tmp_path / "new"]
    shared = tmp_path / "shared"
    for host in ("a", "b"):
        new_writer(open_root(shared / host)).close()
    (shared / "nothing").mkdir()
    assert roots_at(shared) == [shared / "a", shared / "b"]
    assert roots_at(shared / "a") == [shared / "a"]


@as_root
def test_folders_of_another_user_are_refused_by_number(tmp_path: Path) -> None:
    new_writer(open_root(tmp_path / "theirs")).close()
    os.chown(tmp_path / "theirs", 12_345, 12_345)
    for open_it in (open_root, roots_at):
        with pytest.raises(PenstockError, match="belongs to user 12345 and is not owned by this"):
            open_it(tmp_path / "theirs")
    with pytest.raises(PenstockError, match="belongs to user 12345"):
        roots_at(tmp_path)


@pytest.mark.heavy
def test_the_next_pod_takes_up_what_the_last_one_left_on_a_network_file_system(
    scripts: Scripts, ledger: Ledger
) -> None:
    """With a name of its own it has the folder of the pod before it; without one it has another, and only
    `sync --dir` with the folder of all hosts sends the rest."""
    killed = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    scripts.environment["PENSTOCK_MODE"] = "offline"
    head = f"{NETWORK}import os, penstock\nnode = os.environ['NODE']\n"
    name = (
        "u = os.uname()\nos.uname = lambda: os.uname_result((u[0], node, *u[2:]))\n"  # as a pod's
    )
    scripts.run(f"{head}{name}{LOGGED}{killed}", -9, NODE="job-x1")
    scripts.environment["PENSTOCK_HOST_NAME"] = "job-0"
    scripts.run(f"{head}{name}{LOGGED}{killed}", -9, NODE="job-x2")
    scripts.run(f"{head}{name}{LOGGED}run.finish()", NODE="job-x3")
    assert sorted(each.name for each in scripts.root.iterdir() if each.is_dir()) == [
        "job-0", "job-x1",
    ]  # fmt: skip
    assert len([*spools_in(scripts.root / "job-0")]) == 2
    assert load_meta(next(spools_in(scripts.root / "job-0"))).host == "job-0"
    status = json.loads(scripts.penstock("status", "--json", "--dir", str(scripts.root)))
    assert sorted(len(each["spools"]) for each in status) == [1, 2]
    try:
        said = scripts.penstock("sync", "--dir", str(scripts.root))
    finally:
        for root in roots_at(scripts.root):
            end_shipper(root)
    assert "everything is stored" in said
    assert len({batch.writer for batch in ledger.batches()}) == 3


@pytest.mark.heavy
def test_a_resumed_pod_knows_the_steps_of_the_pod_before_it(scripts: Scripts) -> None:
    """On a network file system, and although the server does not answer."""
    head = f"{NETWORK}import os, penstock\n"
    scripts.environment["PENSTOCK_MODE"] = "offline"
    scripts.run(f"{head}{LOGGED}run.finish()", PENSTOCK_HOST_NAME="one")
    go_on = (
        "run = penstock.init(project='p', id='r', resume='allow')\nprint(run.step)\nrun.finish()"
    )
    said = scripts.run(f"{head}{go_on}", PENSTOCK_HOST_NAME="two")
    assert "10" in said.split()


def end_shipper(root: Path) -> None:
    pid, _ = shipper_of(root)
    if pid and is_shipper_running(root):
        os.kill(pid, signal.SIGTERM)


# ---- users


@pytest.mark.heavy
def test_a_user_without_name_and_home_and_a_root_that_cannot_be_written(ledger: Ledger) -> None:
    """As OpenShift starts containers: a number that no file knows, HOME=/, and nothing to write to but the
    volume. The script is process 1."""
    uid = 1_000_650_000
    with new_node({"PENSTOCK_BASE_URL": ledger.url, "PENSTOCK_API_KEY": "good"}) as node:
        volume = node.volume("spool")
        said = node.run(
            f"import penstock\n{LOGGED}run.finish()",
            uid=uid, writable=(volume,), PENSTOCK_DIR=str(volume / "penstock"),
        )  # fmt: skip
        assert (volume / "penstock").stat().st_uid == uid
    assert "is stored" in said
    assert "warning" not in said
    assert len(ledger.points()) == 10


def test_a_shipper_of_another_container_is_nobodys_process_here(tmp_path: Path) -> None:
    """Its process id may be that of any process here: an older one is not asked to exit by it."""
    lock = tmp_path / "shipper.lock"
    for namespace, pid in (("", 7), (f"{pid_namespace()}\n", 7), ("pid:[1]\n", 0)):
        lock.write_text(f"7\n0.0.1\n{namespace}")
        assert shipper_of(tmp_path) == (pid, "0.0.1")


# ---- file systems without locks


@pytest.fixture
def without_locks(scripts: Scripts, tmp_path: Path) -> Scripts:
    """Scripts and shippers for which `flock` fails, as on Lustre without the option `flock`."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(
        "import errno, fcntl, os\n"
        "def flock(fd, operation): raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))\n"
        "fcntl.flock = flock\n"
    )
    path = os.environ.get("PYTHONPATH", "")
    scripts.environment["PYTHONPATH"] = f"{tmp_path / 'patch'}{os.pathsep}{path}"
    return scripts


@pytest.mark.heavy
def test_one_shipper_sends_without_locks(without_locks: Scripts, ledger: Ledger) -> None:
    scripts = without_locks
    running = [
        subprocess.Popen(
            [sys.executable, "-c", f"import penstock\n{LOGGED}run.finish()"],
            env=scripts.environment, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [process.communicate(timeout=50)[1] for process in running]
    assert all("is stored" in each for each in said), said
    assert len({batch.writer for batch in ledger.batches()}) == 3
    log = (scripts.root / "shipper.log").read_text()
    assert log.count("started, process") == 1
    # Its pid is in the lock file all the same: end it as a crash would, and see the next one take over.
    pid, _ = shipper_of(scripts.root)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (scripts.root / "shipper.claim").exists())
    assert "is stored" in scripts.run(f"import penstock\n{LOGGED}run.finish()")
    pid, _ = shipper_of(scripts.root)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (scripts.root / "shipper.claim").exists())
    shutil.rmtree(scripts.root)  # nothing is left to end


def test_a_claim_has_one_holder_and_is_lost_by_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.spool.claims._SETTLE_S", 0.05)
    monkeypatch.setattr("penstock.spool.claims._TOUCH_S", 0.02)
    lost: list[str] = []
    first, second = (
        Claim(tmp_path, lambda name=name: lost.append(name))  # type: ignore[misc]
        for name in ("first", "second")
    )
    assert not is_claimed(tmp_path)
    assert first.take()
    assert is_claimed(tmp_path)
    assert not second.take()
    # Silent for too long: as on a machine that was frozen.
    monkeypatch.setattr("penstock.spool.claims._SILENT_S", -1.0)
    assert second.take()
    wait_until(lambda: lost == ["first"])
    monkeypatch.setattr("penstock.spool.claims._SILENT_S", 60.0)
    first.release()
    assert is_claimed(tmp_path)
    second.release()
    assert not is_claimed(tmp_path)


# ---- the agent of a node


@contextmanager
def agent(scripts: Scripts) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "sync", "--stay"],
        env=scripts.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.heavy
@pytest.mark.smoke
def test_an_agent_sends_what_a_killed_container_left(scripts: Scripts, ledger: Ledger) -> None:
    """It is the only shipper, waits for those that were first, and ends at once when it is asked to."""
    with agent(scripts) as first:
        wait_until(lambda: shipper_of(scripts.root)[0] == first.pid)
        scripts.run(f"import penstock, os\n{LOGGED}os.kill(os.getpid(), 9)", -9)
        wait_until(lambda: len(ledger.points()) == 10)
        assert shipper_of(scripts.root)[0] == first.pid
        with agent(scripts) as second:
            assert second.stderr is not None
            assert "waiting for the shipper of a container" in second.stderr.readline()
            first.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0
            wait_until(lambda: shipper_of(scripts.root)[0] == second.pid)
            scripts.run(f"import penstock\n{LOGGED}run.finish()")
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
    assert len({batch.writer for batch in ledger.batches()}) == 2
    shutil.rmtree(scripts.root)  # nothing is left to end


# ---- verify, when nobody answers


@pytest.mark.heavy
def test_verify_says_what_lies_here_although_the_server_is_gone(scripts: Scripts) -> None:
    scripts.environment["PENSTOCK_BASE_URL"] = "http://127.0.0.1:9"
    scripts.run(f"import penstock, os\n{LOGGED}os.kill(os.getpid(), 9)", -9)
    said = scripts.penstock("verify", "p/r", "--timeout", "1", status=1)
    (folder,) = spools_in(scripts.root)
    assert "the server cannot be asked: cannot reach http://127.0.0.1:9" in said
    assert f"kept in {folder}" in said
    report = json.loads(scripts.penstock("verify", "r", "--timeout", "1", "--json", status=1))
    assert not report["clean"]
    # Cut into a batch or not yet: no point is left out.
    assert report["missing"] + report["unsent"] == 10
    assert report["stored"] == 0
    assert report["writers"][0]["kept_in"] == str(folder)
