"""Nothing listens where other machines can reach it without a secret, and flags and variables mean the same."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_common.process.settings import GatewaySettings
from penstock_server.datafolder import DataFolder
from penstock_server.up_command import options_of

BARE = {name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")}


AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def start(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**BARE, **environ}, capture_output=True, text=True, timeout=50,
    )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_gateway_needs_a_secret() -> None:
    done = start("penstock_server.gateway", PENSTOCK_PORT="0")
    assert done.returncode == 1
    assert "PENSTOCK_SECRET is not set" in done.stderr


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])  # noqa: S104
def test_a_store_for_other_machines_needs_a_token(tmp_path: Path, host: str) -> None:
    module = "penstock_storage.embedded.store_process"
    done = start(module, "--path", str(tmp_path / "store"), "--port", "0", "--host", host)
    assert done.returncode == 2
    assert "PENSTOCK_STORE_TOKEN is not set" in done.stderr
    assert not (tmp_path / "store").exists()


def flags(**given: object) -> Namespace:
    nothing: dict[str, object] = {"host": None, "port": None, "root_path": None}
    rest = {"gateways": 1, "workers": 1, "data": Path("data"), "ready_file": None}
    return Namespace(**{**nothing, **rest, "require_login": False, **given})


def test_up_listens_where_its_environment_says() -> None:
    set_ = GatewaySettings(host="::", port=81, root_path="/p/", require_login=True)
    options = options_of(flags(), set_)
    assert (options.host, options.port, options.root_path) == ("::", 81, "/p")
    assert options.require_login
    options = options_of(flags(host="::1", port=0, root_path=""), set_)
    assert (options.host, options.port, options.root_path) == ("::1", 0, "")
    options = options_of(flags(require_login=True), GatewaySettings())
    assert (options.host, options.port, options.require_login) == ("127.0.0.1", 8080, True)


def test_a_data_folder_of_our_own_is_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    folder = DataFolder(tmp_path)
    folder.open()
    folder.close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder of root and group 4321 that others can reach, unlike those below `tmp_path`."""
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, 0, 4321)
        yield Path(made)


def open_as_other(volume: Path, mode: int) -> subprocess.CompletedProcess[str]:
    """Open it as a data folder, as user 1234, who is in that group."""
    volume.chmod(mode)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from penstock.errors import Rejected\n"
        "from penstock_server.datafolder import DataFolder\n"
        "os.setgroups([4321]); os.setgid(1234); os.setuid(1234)\n"
        "folder = DataFolder(Path(sys.argv[1]))\n"
        "try: folder.open(); folder.secret('pepper'); print('opened')\n"
        "except Rejected as error: sys.exit(f'{error.code}: {error}')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(volume)],
        env=BARE, capture_output=True, text=True, timeout=50,
    )  # fmt: skip


@AS_ROOT
def test_a_folder_that_this_user_must_not_write(volume: Path) -> None:
    done = open_as_other(volume, 0o755)
    assert "closed_folder: user 1234 of group 1234 has no access to" in done.stderr


@AS_ROOT
def test_a_volume_of_root_that_is_open_to_our_group(volume: Path) -> None:
    """As Kubernetes mounts it: owned by root, writable for a group, set by `fsGroup`."""
    done = open_as_other(volume, 0o2770)
    assert done.stdout == "opened\n", done.stderr
    assert stat.S_IMODE(volume.stat().st_mode) == 0o2770
    for each in ("secrets", "queue", "points"):
        assert stat.S_IMODE((volume / each).stat().st_mode) & 0o77 == 0, each
