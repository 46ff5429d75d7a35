"""A home, a folder for data or one for temporary files whose file server is gone: the training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hung import hung_folder
from support.ledger import Ledger
from support.marks import first_of
from support.scripts import Scripts
from support.spools import wait_until

TRAINING = """
import os, pathlib, tempfile, time, threading
import penstock, penstock.bounded, penstock.runs.places, penstock.spool.root
penstock.bounded.ANSWER_S = 0.5
penstock.spool.root.default_root = lambda: pathlib.Path(os.environ["USUAL"])
penstock.runs.places.default_root = penstock.spool.root.default_root
penstock.runs.places._MEMORY = pathlib.Path(os.environ["MEMORY"])
began = time.monotonic()
for number in range(3):
    waits = {"finish_timeout_s": float(os.environ.get("WAIT", 60))}
    with penstock.init(project="p", id=f"run{number}", dir=os.environ.get("AT"), settings=waits) as run:
        for step in range(10): run.log({f"a{number}": float(step)})
print("trained", len([t for t in threading.enumerate() if t.name == "penstock-bounded"]))
"""
LOGIN = """
import penstock.bounded
penstock.bounded.ANSWER_S = 0.5
import penstock
print("logged in:", penstock.login("good"))
"""


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Path]:
    with hung_folder(tmp_path / "hung") as folder:
        yield folder


@pytest.fixture
def scripts(tmp_path: Path, ledger: Ledger) -> Iterator[Scripts]:
    made = Scripts(tmp_path / "root", ledger.url)
    for name in ("usual", "memory", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)
        made.environment |= {name.upper(): str(tmp_path / name), "TMPDIR": str(tmp_path / "tmp")}
    yield made
    for root in (tmp_path / "usual", tmp_path / "memory", *(tmp_path / "memory").iterdir()):
        Scripts(root, ledger.url).end_shipper()
    made.end_shipper()


def test_the_home_does_not_answer(scripts: Scripts, ledger: Ledger, hung: Path) -> None:
    said = scripts.run(TRAINING, XDG_CONFIG_HOME="", HOME=str(hung), PENSTOCK_API_KEY="good")
    assert "trained 1" in said
    assert said.count("did not answer") == 1
    assert str(hung / ".config/penstock/credentials.json") in said
    assert len(ledger.points()) == 30


def test_a_key_that_cannot_be_read_keeps_the_data(scripts: Scripts, hung: Path) -> None:
    said = scripts.run(TRAINING, XDG_CONFIG_HOME=str(hung), PENSTOCK_API_KEY="", WAIT="0.5")
    assert "trained" in said
    assert "set PENSTOCK_API_KEY" in said
    assert "no API key for" in said


@pytest.mark.parametrize("variable", first_of("PENSTOCK_DIR", "AT", "WANDB_DIR"))
def test_the_folder_for_data_does_not_answer(
    scripts: Scripts, ledger: Ledger, hung: Path, tmp_path: Path, variable: str
) -> None:
    scripts.environment |= {"PENSTOCK_DIR": ""} | {variable: str(hung / "below")}
    said = scripts.run(TRAINING)
    assert "trained 1" in said
    assert f"data is kept in {tmp_path / 'usual'} instead" in said
    wait_until(lambda: len(ledger.points()) == 30)


@pytest.mark.smoke
@pytest.mark.heavy
def test_nothing_but_memory_answers(
    scripts: Scripts, ledger: Ledger, hung: Path, tmp_path: Path
) -> None:
    """The folder for temporary files hangs too, and whoever asks for it."""
    said = scripts.run(
        TRAINING, PENSTOCK_DIR=str(hung), USUAL=str(hung / "usual"), TMPDIR=str(hung / "tmp"),
        XDG_CONFIG_HOME=str(hung / "config"),
    )  # fmt: skip
    assert "trained" in said
    assert f"data is kept in {tmp_path / 'memory'}" in said
    wait_until(lambda: len(ledger.points()) == 30)


def test_a_login_is_not_waited_for(scripts: Scripts, hung: Path) -> None:
    said = scripts.run(LOGIN, XDG_CONFIG_HOME=str(hung))
    assert "logged in: True" in said
    assert "the login cannot be saved" in said
    assert "Traceback" not in said


def test_certificates_that_cannot_be_read(scripts: Scripts, ledger: Ledger, hung: Path) -> None:
    https = ledger.url.replace("http:", "https:")
    said = scripts.run(
        "import penstock.commands.signin\npenstock.commands.signin._TIMEOUT_S = 0.5\n" + LOGIN,
        PENSTOCK_BASE_URL=https, PENSTOCK_CA_FILE=str(hung / "ca.pem"),
    )  # fmt: skip
    assert "the API key could not be checked: no answer" in said
    assert "logged in: True" in said
