"""`make wandb-versions`: the tests of this folder with the newest allowed version of the official client and
the two series before it, and a table of what changed.

Each version lies in an environment of its own (`.venv-wandb/VERSION`) that holds it and what it needs; all
else comes from the environment that this runs in, which is left as it is.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
sys.path[0] = str(TESTS)

from support.wandb_operations import operations_of, unknown_operations  # noqa: E402
from support.wandb_versions import (  # noqa: E402  (it lies where the tests are)
    Outcome,
    allowed,
    read_junit,
    read_logs,
    table,
    to_test,
)

from penstock_compat.wandb.viewer import FEATURES  # noqa: E402

ENVIRONMENTS = ROOT / ".venv-wandb"
_INSTALL_S = 600
_FEATURES = """
from wandb.proto.wandb_internal_pb2 import ServerFeature
print(*ServerFeature.keys())
"""


def main() -> int:
    """0 if all tests of all versions passed."""
    arguments = _parse()
    versions = arguments.versions or to_test(_released(), allowed(ROOT / "pyproject.toml"))
    print(f"wandb {', '.join(versions)}", flush=True)
    outcomes = [_outcome(version, arguments.tests, arguments.k) for version in versions]
    text = table(outcomes, FEATURES)
    print(f"\n{text}")
    if arguments.report:
        arguments.report.write_text(text)
    return int(any(each.problem or each.count("failed") for each in outcomes))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tests", nargs="*", default=["tests/wandb"], help="files; none: all")
    parser.add_argument("-k", default="", help="only tests whose names match, as with pytest")
    parser.add_argument(
        "--versions", nargs="+", default=[], help="these, the first to compare with"
    )
    parser.add_argument("--report", type=Path, help="also write the table to this file")
    return parser.parse_args()


def _released() -> list[str]:
    """All releases that the package index has."""
    command = [sys.executable, "-m", "pip", "index", "versions", "wandb"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=True)
    found = re.search(r"Available versions: (.*)", ended.stdout)
    return found[1].split(", ") if found else []


def _outcome(version: str, tests: Sequence[str], chosen: str) -> Outcome:
    python = _environment(version)
    if python is None:
        return Outcome(version, problem="it could not be installed")
    # Short, as the sockets of servers lie there.
    with tempfile.TemporaryDirectory(prefix="wv-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(report),
            "--basetemp", f"{folder}/t", "-o", "tmp_path_retention_policy=all", *tests,
        ]  # fmt: skip
        print(f"\n== wandb {version}", flush=True)
        subprocess.run(command + (["-k", chosen] if chosen else []), cwd=ROOT)
        if not report.exists():
            return Outcome(version, problem="the tests did not run")
        operations, fields = read_logs(Path(folder) / "t")
        found = read_junit(report)
    package = next((python.parent.parent / "lib").glob("python*/site-packages/wandb"))
    unknown = unknown_operations(operations_of(package))
    return Outcome(version, found, operations, fields, unknown, _features(python))


def _features(python: Path) -> frozenset[str]:
    ended = subprocess.run([str(python), "-c", _FEATURES], capture_output=True, text=True)
    return frozenset(ended.stdout.split()) - {"SERVER_FEATURE_UNSPECIFIED"}


def _environment(version: str) -> Path | None:
    """The interpreter of this version's environment, which is made if it is not there."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    if (folder / ".ready").exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    # What this version needs besides is as elsewhere, where it can be.
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    others = folder / "constraints.txt"
    others.write_text("\n".join(line for line in constraints if not line.startswith("wandb==")))
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = f"wandb=={version}"
    for options in (["-c", str(others)], []):
        if subprocess.run([*install, *options, wanted], timeout=_INSTALL_S).returncode == 0:
            break
    else:
        return None
    # Its own packages come first, then those of this environment.
    site = sysconfig.get_path("purelib")
    own = next((folder / "lib").glob("python*/site-packages"))
    (own / "others.pth").write_text(f"import site; site.addsitedir({site!r})\n")
    (folder / ".ready").touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
