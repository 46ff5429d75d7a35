"""The first minutes with the client: login, the link, init that fails, finish, and then again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.ledger import Ledger, serve_ledger
from support.scripts import Scripts

from penstock.spool.root import folders_in

pytestmark = pytest.mark.heavy


@pytest.fixture
def new_user(scripts: Scripts) -> Scripts:
    """Whose environment says nothing of a server or a key."""
    del scripts.environment["PENSTOCK_BASE_URL"], scripts.environment["PENSTOCK_API_KEY"]
    return scripts


TRAINING = (
    "import penstock\nwith penstock.init(project='p') as run: run.log({'a': 1.0})\nprint(run.url)"
)


@pytest.mark.parametrize("shorten", [False, True])
def test_the_host_of_the_login_is_the_default(
    new_user: Scripts, ledger: Ledger, shorten: bool
) -> None:
    host = ledger.url.removeprefix("http://") + "/" if shorten else ledger.url
    said = new_user.penstock("login", "--host", host, "--key", "-", given="good\n")
    assert f"logged in to {ledger.url} as me" in said
    said = new_user.run(TRAINING)
    assert ledger.points() == {("a", 0): 1.0}
    assert f"{ledger.url}/?project=me/p&run=" in said
    assert "is stored" in said
    said = new_user.penstock("login", "--key", "-", given="good\n")
    assert f"logged in to {ledger.url} as me" in said


def test_argument_and_environment_go_before_the_login(new_user: Scripts, ledger: Ledger) -> None:
    new_user.penstock("login", "--host", ledger.url, "--key", "-", given="good\n")
    with serve_ledger() as other:
        new_user.run(TRAINING, PENSTOCK_BASE_URL=other.url, PENSTOCK_API_KEY="good")
        assert other.points() == {("a", 0): 1.0}
        new_user.run(
            f"""
import penstock
settings = penstock.Settings(base_url={other.url!r}, api_key="good")
with penstock.init(project="p", settings=settings) as run: run.log({{"b": 1.0}})
""",
            PENSTOCK_BASE_URL=ledger.url,
        )
        assert other.points()["b", 0] == 1.0
    assert ledger.points() == {}


def test_a_login_elsewhere_than_the_environment_says_so(scripts: Scripts, ledger: Ledger) -> None:
    with serve_ledger() as other:
        said = scripts.penstock("login", "--host", other.url, "--key", "-", given="good\n")
    assert "PENSTOCK_BASE_URL is set, so runs go there" in said
    assert ledger.requests == 0


def test_a_refused_login_changes_nothing(new_user: Scripts, ledger: Ledger) -> None:
    new_user.penstock("login", "--host", ledger.url, "--key", "-", given="good\n")
    kept = new_user.root / "config/penstock/credentials.json"
    before = kept.read_text()
    with serve_ledger() as other:
        new_user.penstock("login", "--host", other.url, "--key", "-", given="wrong\n", status=1)
    said = new_user.penstock("login", "--host", other.url, "--key", "-", given="good\n", status=1)
    assert "cannot reach" in said
    new_user.penstock("login", "--host", "ftp://h", "--key", "-", given="good\n", status=1)
    assert kept.read_text() == before
    assert json.loads(before)["base_url"] == ledger.url


def test_a_login_in_a_script_survives_a_server_that_is_away(new_user: Scripts) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = new_user.run(f"import penstock; assert penstock.login(key='good', host={host!r})")
    assert "could not be checked" in said


@pytest.mark.parametrize("how", ["unreadable", "a pipe", "not JSON", "odd entries", "deep"])
def test_a_login_file_that_is_broken(new_user: Scripts, ledger: Ledger, how: str) -> None:
    folder = new_user.root / "config/penstock"
    folder.mkdir(parents=True)
    kept = folder / "credentials.json"
    match how:
        case "unreadable":
            kept.mkdir()
        case "a pipe":
            subprocess.run(["mkfifo", str(kept)], check=True)
        case "not JSON":
            kept.write_bytes(b"\xff\x00{")
        case "odd entries":
            kept.write_text(json.dumps({"base_url": ["x"], ledger.url: "key", "chosen_by_hand": 7}))
        case _:
            kept.write_text("[" * 100_000)
    said = new_user.run(TRAINING, PENSTOCK_BASE_URL=ledger.url, PENSTOCK_API_KEY="good")
    assert "is stored" in said


def test_python_m_penstock(scripts: Scripts) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "status"],
        env=scripts.environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "no data is kept on this machine" in done.stdout


def test_after_the_end_there_is_no_run(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import penstock as wandb
def ended():
    assert wandb.run is None
    for use in (lambda: wandb.log({"a": 1}), lambda: wandb.config.x, lambda: wandb.summary.x,
                lambda: wandb.define_metric("a")):
        try: use()
        except Exception as error: assert "penstock.init()" in str(error), error
        else: raise SystemError("taken for no run")
    wandb.finish()
ended()
run = wandb.init(project="p", id="one"); run.log({"a": 1}); run.finish(); ended()
with wandb.init(project="p", id="two"): wandb.log({"a": 1})
ended()
try:
    with wandb.init(project="p", id="three"): 1 / 0
except ZeroDivisionError: pass
ended()
run = wandb.run or wandb.init(project="p", id="four"); wandb.log({"a": 1}); wandb.finish(); ended()
wandb.init(mode="disabled").finish(); ended()
first = wandb.init(project="p", id="five")
second = wandb.init(project="p", id="six", reinit="create_new")
second.finish(); assert wandb.run is first
first.finish(); ended()
""")
    runs = {batch.run for batch in ledger.batches()}
    assert runs == {"one", "two", "three", "four", "five", "six"}
    states = [record["state"] for record in ledger.records("state")]
    assert sorted(set(states)) == ["failed", "finished", "running"]


RAISES = {
    "mode": "mode='nonsense'",
    "resume without an id": "resume='must'",
    "resume of nothing": "resume='must', id='nothing'",
    "project": "project='a/b'",
    "config": "config='no such file.yaml'",
    "address": "settings={'base_url': 'ftp://h'}",
    "limit": "settings={'spool_limit_bytes': 'much'}",
}


@pytest.mark.parametrize("what", RAISES)
def test_an_init_that_raises_leaves_nothing_behind(
    scripts: Scripts, ledger: Ledger, what: str
) -> None:
    scripts.run(f"""
import os, signal, sys, penstock
before = (dict(os.environ), sys.excepthook, sys.exit, os._exit, signal.getsignal(signal.SIGTERM),
          list(sys.meta_path), penstock.log)
try: penstock.init({RAISES[what]})
except (ValueError, penstock.errors.PenstockError) as error: assert str(error)
else: raise SystemError("taken")
after = (dict(os.environ), sys.excepthook, sys.exit, os._exit, signal.getsignal(signal.SIGTERM),
         list(sys.meta_path), penstock.log)
assert before == after and penstock.run is None
""")
    assert not scripts.root.exists() or list(folders_in(scripts.root)) == []
    assert ledger.batches() == []


def test_an_interrupt_amid_init_leaves_nothing_behind(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import penstock
from penstock.runs.run import Run
begin = Run._begin
def interrupted(self):
    begin(self)
    raise KeyboardInterrupt
Run._begin = interrupted
try: penstock.init(project="p", config={"a": 1})
except KeyboardInterrupt: pass
else: raise SystemError("went on")
Run._begin = begin
assert penstock.run is None
run = penstock.init(project="p", id="after"); run.log({"a": 1}); run.finish()
""")
    assert len(list(folders_in(scripts.root))) == 1
    assert {batch.run for batch in ledger.batches()} == {"after"}


def test_config_of_many_kinds(scripts: Scripts, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "lr: {desc: null, value: 0.1}\nlayers: {a: 1}\nwandb_version: 1\n"
    )
    scripts.run(f"""
import dataclasses, pathlib, penstock
@dataclasses.dataclass
class Config: depth: int = 3
for id, config in {{"file": {str(tmp_path / "c.yaml")!r}, "path": pathlib.Path({str(tmp_path / "c.yaml")!r}),
                   "dataclass": Config(), "none": None, "pairs": [("a", 1)]}}.items():
    penstock.init(project="p", id=id, config=config).finish()
penstock.init(project="p", id="left-out", config={{"a": 1, "token": "secret"}},
              config_exclude_keys=["token"]).finish()
penstock.init(project="p", id="kept", config={{"a": 1, "token": "secret"}},
              config_include_keys=["a"]).finish()
""")
    configs: dict[str, object] = {}
    for batch in ledger.batches():
        for record in batch.records:
            if record["t"] == "config":
                configs[batch.run] = record["update"]
    assert configs == {
        "file": {"lr": 0.1, "layers": {"a": 1}},
        "path": {"lr": 0.1, "layers": {"a": 1}},
        "dataclass": {"depth": 3},
        "pairs": {"a": 1},
        "left-out": {"a": 1},
        "kept": {"a": 1},
    }


def test_arguments_by_their_earlier_names(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run("""
import penstock
penstock.init(project="p", run_name="old", run_group="g").finish()
penstock.init(project="p", settings=penstock.Settings(run_name="x", run_notes="n", run_tags=["t"],
              run_job_type="j")).finish()
""")
    first, second = ledger.records("run")
    if first["name"] != "old":
        first, second = second, first
    assert (first["name"], first["group"]) == ("old", "g")
    assert (second["name"], second["notes"], second["tags"], second["job_type"]) == (
        "x", "n", ["t"], "j"
    )  # fmt: skip
    assert "is ignored" not in said


class Silent:
    """A server that accepts, and then says nothing, or one byte now and then."""

    def __init__(self, drip: bytes) -> None:
        self._drip = drip
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self._listener.settimeout(0.1)
        with ExitStack() as held:
            connections: list[socket.socket] = []
            while not self._is_over.is_set():
                with suppress(TimeoutError):
                    connections.append(held.enter_context(self._listener.accept()[0]))
                    connections[-1].sendall(self._drip and b"HTTP/1.1 200 OK\r\nX: ")
                for connection in connections:
                    with suppress(OSError):
                        connection.sendall(self._drip)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(10)
        self._listener.close()


@pytest.mark.parametrize("drip", [b"", b"a"])
@pytest.mark.parametrize("resume", ["allow", "must"])
def test_a_silent_server_holds_nobody_up(scripts: Scripts, resume: str, drip: bytes) -> None:
    server = Silent(drip)
    try:
        # Bounded: without a bound this takes half a minute per request, or for ever.
        said = scripts.run(
            f"""
import time, penstock
begun = time.monotonic()
try:
    run = penstock.init(project="p", id="r", resume={resume!r})
    run.log({{"a": 1.0}})
    run.finish(timeout_s=0.1)
except penstock.errors.PenstockError as error: print("raised", error)
assert time.monotonic() - begun < 15
""",
            PENSTOCK_BASE_URL=server.url,
        )
    finally:
        server.close()
    assert "cannot look up the run to resume" in said
    assert ("raised" in said) == (resume == "must")
    assert ("continuing with steps from 0, beside what the run" in said) == (resume != "must")
