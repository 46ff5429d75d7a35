"""`import penstock` is light, and gives the names that a script written for W&B uses."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import penstock


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, penstock; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & {"numpy", "aiohttp", "redis", "msgpack", "backports", "psutil", "ssl"}


def test_a_run_loads_only_what_it_needs(tmp_path: Path) -> None:
    code = (
        "import sys, penstock\n"
        "given = {'project': 'a project', 'name': 'a name', 'tags': ['a'], 'notes': 'a note'}\n"
        "run = penstock.init(mode='offline', config={'lr': 0.1}, **given)\n"
        "run.log({'a': 1.0})\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PENSTOCK_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": ""},
    )
    loaded = set(run.stdout.split())
    assert not loaded & {"numpy", "aiohttp", "redis", "http.client", "ssl"}
    assert not loaded & {
        "penstock.error_codes",
        "penstock.command_codes",
        "penstock.wire",
        "backports.zstd",
        "penstock.shipper",
        "shutil",
        "logging",
    }


def test_all_names_exist_or_are_lazy() -> None:
    for name in set(penstock.__all__) - {"Api", "config", "summary"}:
        getattr(penstock, name)


def test_client_imports_nothing_of_the_server() -> None:
    package = Path(penstock.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert not name.startswith("penstock_"), f"{path}: {name}"


def test_no_module_hides_a_public_name() -> None:
    modules = {path.stem for path in Path(penstock.__file__).parent.iterdir()}
    assert not modules & set(penstock.__all__)
