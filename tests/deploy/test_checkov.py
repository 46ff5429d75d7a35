"""checkov on what is rendered. It needs versions of its own, so it runs from an environment in build/checkov."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.chart import ROOT, rendering, scenario

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

REQUIREMENTS = Path(__file__).with_name("checkov-requirements.txt")
HOME = ROOT / "build" / "checkov"
SCENARIOS = ("default", "production", "cluster-store", "single-together", "cluster-together")
SKIPPED = {
    "CKV_K8S_15": "tags of releases never move, so asking the registry at each start would only add a way to fail",
    "CKV_K8S_35": "the server reads secrets from its environment; nothing prints them and pods run nothing else",
    "CKV_K8S_43": "image.digest pins the content where that is wanted; the release's tag is the default",
}
"""Checks that are not made, with the reason."""
ON_OPENSHIFT = {"CKV_K8S_40": "OpenShift chooses a high user id itself"}


@cache
def checkov() -> Path:
    """The program, installed at the first call; the test is skipped where that is impossible."""
    program = HOME / "bin" / "checkov"
    wanted = REQUIREMENTS.read_text()
    stamp = HOME / "requirements.txt"
    if not program.exists() or not stamp.exists() or stamp.read_text() != wanted:
        commands = (
            [sys.executable, "-m", "venv", "--clear", str(HOME)],
            [str(HOME / "bin" / "pip"), "install", "--quiet", "--requirement", str(REQUIREMENTS)],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"checkov can't be installed here: {done.stderr.strip()[-200:]}")
        stamp.write_text(wanted)
    return program


def failures(folder: Path) -> set[tuple[str, str, str]]:
    """(check, file, object) of everything below a folder that checkov objects to."""
    command = [
        str(checkov()), "--directory", str(folder), "--framework", "kubernetes", "--skip-download",
        "--compact", "--quiet", "--output", "json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 10
    return {
        (c["check_id"], c["file_path"], c["resource"]) for c in report["results"]["failed_checks"]
    }


def test_checkov_objects_to_nothing_but_what_is_listed(tmp_path: Path) -> None:
    for name in SCENARIOS:
        texts = rendering().documents(scenario(name))
        (tmp_path / f"{name}.yaml").write_text("---\n".join(texts.values()))
    found = failures(tmp_path)
    allowed = {(check, file, which) for check, file, which in found if check in SKIPPED}
    allowed |= {
        (check, file, w) for check, file, w in found if check in ON_OPENSHIFT and "together" in file
    }
    assert not found - allowed
    # A reason that is not needed any more goes.
    assert {check for check, _, _ in found} == SKIPPED.keys() | ON_OPENSHIFT.keys()


def test_checkov_sees_what_is_wrong(tmp_path: Path) -> None:
    text = rendering().documents({})["statefulset-penstock"]
    assert text.count("readOnlyRootFilesystem: true") == 1
    (tmp_path / "wrong.yaml").write_text(
        text.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    )
    assert "CKV_K8S_22" in {check for check, _, _ in failures(tmp_path)}
