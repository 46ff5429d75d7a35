"""Whatever keeps data from being stored is said: by the run, by `penstock status`, and at the end."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.ledger import Fault, Ledger
from support.marks import first_of
from support.scripts import Scripts
from support.spools import new_writer, wait_until

from penstock.shipper.daemon import Daemon
from penstock.shipper.sender import SpoolSender
from penstock.spool.meta import load_meta, store_meta
from penstock.spool.progress import load_progress
from penstock.spool.record import segment_name
from penstock.spool.root import spools_in

TRAINING = """
import penstock
run = penstock.init(project="p")
for step in range(10): run.log({"a": float(step)})
run.finish()
"""


@pytest.mark.parametrize(
    "key", first_of("good\n", " good ", "'good'", "export PENSTOCK_API_KEY=good")
)
def test_a_key_as_it_was_mounted_or_pasted(scripts: Scripts, ledger: Ledger, key: str) -> None:
    said = scripts.run(TRAINING, PENSTOCK_API_KEY=key)
    assert len(ledger.points()) == 10
    assert "is stored" in said
    assert "good" not in said


@pytest.mark.parametrize("how", first_of("bare", "upper", "page", "path"))
def test_an_address_as_it_was_pasted(scripts: Scripts, ledger: Ledger, how: str) -> None:
    url = {
        "bare": ledger.url.removeprefix("http://"),
        "upper": ledger.url.replace("http", "HTTP"),
        "page": f"{ledger.url}/?project=local/p&run=r",
        "path": f"{ledger.url}/v1/batches",
    }[how]
    said = scripts.run(TRAINING, PENSTOCK_BASE_URL=url)
    assert len(ledger.points()) == 10
    assert "run=" in said
    assert f"{ledger.url}/?project=" in said


@pytest.mark.heavy
@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://tracker:port", marks=pytest.mark.smoke),
        "ftp://tracker:8080",
        "http://",
    ],
)
def test_an_address_that_cannot_be_meant(scripts: Scripts, ledger: Ledger, url: str) -> None:
    said = scripts.run(TRAINING, PENSTOCK_BASE_URL=url)
    assert said.count("PENSTOCK_BASE_URL: ") == 1
    assert said.count("can be sent once the address is correct, with: penstock sync") == 1
    assert "is stored" not in said
    (spool,) = json.loads(scripts.penstock("status", "--json"))["spools"]
    assert spool["problem_code"] == "bad_url"
    assert "http://host:port" in spool["problem"]
    assert ledger.requests == 0
    assert "everything is stored" in scripts.penstock("sync")  # now the address is right
    assert len(ledger.points()) == 10


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_wrong_key(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(TRAINING, PENSTOCK_API_KEY="wrong")
    assert said.rstrip().endswith("is sent once there is a key: penstock login")
    assert "is stored" not in said
    (spool,) = json.loads(scripts.penstock("status", "--json"))["spools"]
    assert spool["problem"]
    assert len(ledger.points()) == 0


def test_a_run_of_which_something_was_refused_is_not_called_stored(
    scripts: Scripts, ledger: Ledger
) -> None:
    ledger.faults.append(Fault(422))
    said = scripts.run(TRAINING)
    assert "is stored:" not in said
    assert "everything is stored except 1 batch that the server refused (as ordered)" in said
    assert said.rstrip().endswith("once the cause is fixed: penstock sync --rejected")
    assert "as ordered" in scripts.penstock("status")


@pytest.mark.heavy
@pytest.mark.smoke
def test_dead_batches_are_said_at_the_end(scripts: Scripts, ledger: Ledger) -> None:
    begin = "import penstock, sys; run = penstock.init(project='p'); run.log({'a': 1.0}); "
    scripts.run(begin + "run.finish()")
    (writer,) = ledger.committed
    ledger.dead[writer] = [1]
    said = scripts.run(TRAINING)
    assert "is stored:" in said  # the other run
    (folder,) = [f for f in spools_in(scripts.root) if load_meta(f).writer == writer]
    wait_until(lambda: load_progress(folder).dead == [1], 40)
    assert "penstock dead replay" in scripts.penstock("status")


class Bug(RuntimeError):
    """What nobody foresaw."""


@pytest.mark.parametrize("where", ["turn", "take up"])
def test_what_nobody_foresaw_is_the_spools_problem(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    writer = new_writer(tmp_path, ledger.url)
    writer.log({"a": 1.0})
    folder = writer.spool().folder
    well = new_writer(tmp_path, ledger.url, run="well")
    well.log({"b": 1.0})
    well.close()
    method = "_step" if where == "turn" else "close"
    original: Callable[..., object] = getattr(SpoolSender, method)
    if where == "turn":

        def fail(sender: SpoolSender, now: float) -> object:
            if sender.folder == folder:
                raise Bug("the moon is full\n(again)")
            return original(sender, now)

        monkeypatch.setattr(SpoolSender, method, fail)
    else:
        (folder / segment_name(1)).unlink()
        (folder / segment_name(1)).mkdir()
    daemon = Daemon(tmp_path)
    monkeypatch.setattr(daemon, "_has_work", lambda: not load_progress(folder).problem)
    daemon._idle_exit_s = 0.5
    daemon.run()
    progress = load_progress(folder)
    if where == "turn":
        assert progress.problem_code == "internal"
        assert "Bug: the moon is full (again)" in progress.problem
        assert str(tmp_path / "shipper.log") in progress.problem
    assert progress.problem
    writer.close()


def test_a_problem_goes_once_its_cause_is_gone(tmp_path: Path, ledger: Ledger) -> None:
    writer = new_writer(tmp_path, "ftp://nowhere")
    writer.log({"a": 1.0})
    writer.close()
    (folder,) = spools_in(tmp_path)
    daemon = Daemon(tmp_path, idle_exit_s=0.6)
    daemon.run()
    assert load_progress(folder).problem_code == "bad_url"
    store_meta(folder, replace(load_meta(folder), base_url=ledger.url))
    Daemon(tmp_path, idle_exit_s=0.6).run()
    assert load_progress(folder).problem == ""
    assert load_progress(folder).done


def test_a_spool_of_an_unknown_version_says_so(tmp_path: Path, ledger: Ledger) -> None:
    writer = new_writer(tmp_path, ledger.url)
    writer.log({"a": 1.0})
    folder = writer.spool().folder
    writer.close()
    segment = folder / segment_name(1)
    data = bytearray(segment.read_bytes())
    data[:8] = b"PNSTK\xff\xff\xff"
    segment.write_bytes(data)
    Daemon(tmp_path, idle_exit_s=0.6).run()
    progress = load_progress(folder)
    assert progress.problem or progress.damaged_bytes or progress.missing_segments


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PYTHONHOME", "/no/such"), ("PYTHONPATH", "shadow"), ("PYTHONSTARTUP", "/no/such")],
)
def test_python_variables_that_would_keep_the_shipper_from_starting(
    scripts: Scripts, ledger: Ledger, tmp_path: Path, variable: str, value: str
) -> None:
    if value == "shadow":
        shadow = tmp_path / "shadow"
        shadow.mkdir()
        (shadow / "logging.py").write_text("raise RuntimeError('a shadow')")
        value = str(shadow)
    said = scripts.run(f"import os; os.environ[{variable!r}] = {value!r}\n{TRAINING}")
    assert len(ledger.points()) == 10
    assert "is stored" in said


@pytest.mark.parametrize("how", first_of("dies at once", "no python", "no process"))
def test_a_shipper_that_cannot_start(
    scripts: Scripts, ledger: Ledger, tmp_path: Path, how: str
) -> None:
    bad = tmp_path / "python"
    bad.write_text("#!/bin/sh\necho 'no module named anything' >&2\nexit 3\n")
    bad.chmod(stat.S_IRWXU)
    prefix = {
        "no python": "import sys; sys.executable = '/no/such/python'\n",
        "dies at once": f"import sys; sys.executable = {str(bad)!r}\n",
        "no process": "import os, subprocess\n"
        "def refuse(*_, **__): raise BlockingIOError(11, os.strerror(11))\n"
        "subprocess.Popen = refuse\n",
    }[how]
    said = scripts.run(prefix + TRAINING)
    assert said.count("the sending process") >= 1
    if how == "dies at once":
        assert "no module named anything" in said
        assert "no module named anything" in scripts.penstock("status")
    assert "is sent by the next run on this machine, or with: penstock sync" in said
    assert ledger.requests == 0
    assert "everything is stored" in scripts.penstock("sync")
    assert len(ledger.points()) == 10


def test_a_proxy_or_certificates_that_cannot_be_used(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        TRAINING,
        HTTP_PROXY="socks5://secret:word@h:1080",
        SSL_CERT_FILE="/no/such/file",
        no_proxy="",
    )
    assert "HTTP_PROXY is ignored" in said
    assert "SSL_CERT_FILE is ignored" in said
    assert "word" not in said
    assert len(ledger.points()) == 10


def test_status_finds_what_was_kept_elsewhere(scripts: Scripts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    code = "import penstock.spool.root, pathlib\npenstock.spool.root.default_root = lambda: pathlib.Path('/proc/x')\n"
    scripts.run(
        code + TRAINING,
        PENSTOCK_DIR=str(tmp_path / "file"),
        TMPDIR=str(tmp_path / "tmp"),
        PENSTOCK_MODE="offline",
    )
    scripts.environment["TMPDIR"] = str(tmp_path / "tmp")
    said = scripts.penstock("status")
    assert f"penstock status --dir {tmp_path}/tmp/penstock-{os.getuid()}" in said
