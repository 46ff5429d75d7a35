"""Which versions of the official client are tested, and how what they came to is told."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from support.wandb_operations import operations_of, unknown_operations
from support.wandb_versions import Outcome, allowed, read_junit, read_logs, table, to_test

ROOT = Path(__file__).parents[2]
RELEASED = ["0.31.0", "0.32.0", "0.31.1rc1", "0.30.0", "0.30.2", "0.29.0", "0.28.9", "0.9.7"]


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        (">=0.31,<0.32", ["0.31.0", "0.30.2", "0.29.0"]),
        (">=0.31", ["0.32.0", "0.31.0", "0.30.2"]),
        ("==0.28.9", ["0.28.9", "0.9.7"]),
    ],
)
def test_the_newest_allowed_and_two_series_before(specifier: str, expected: list[str]) -> None:
    assert to_test(RELEASED, SpecifierSet(specifier)) == expected


def test_none_allowed_says_where_that_is_stated() -> None:
    with pytest.raises(ValueError, match="pyproject"):
        to_test(RELEASED, SpecifierSet(">=1"))


def test_the_pinned_version_is_an_allowed_one() -> None:
    assert importlib.metadata.version("wandb") in allowed(ROOT / "pyproject.toml")


def test_reports_and_logs_are_read(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite>
        <testcase classname="tests.wandb.test_a" name="test_x[1]"/>
        <testcase classname="tests.wandb.test_a" name="test_y"><failure message="m">t</failure></testcase>
        <testcase classname="tests.wandb.test_a" name="test_z"><skipped/></testcase>
        <testcase classname="tests.wandb.test_b" name="test_x"><error/></testcase>
        <testcase classname="tests.wandb.test_b" name="test_x"/>
        </testsuite></testsuites>"""
    )
    assert read_junit(report) == {
        "test_a::test_x[1]": "passed",
        "test_a::test_y": "failed",
        "test_a::test_z": "skipped",
        "test_b::test_x": "failed",
    }
    logs = tmp_path / "up0" / "data" / "logs"
    logs.mkdir(parents=True)
    (logs / "gateway-0.log").write_text(
        "WARNING … unknown_graphql_operation operation=NewThing reason=no\n"
        "INFO … graphql_field_without_answer field=Run.newField\nINFO other\n"
    )
    operations, fields = read_logs(tmp_path)
    assert (set(operations), set(fields)) == ({"NewThing"}, {"Run.newField"})


def test_the_table_names_what_changed() -> None:
    first = Outcome("0.31.0", {"a": "passed", "b": "passed"}, features=frozenset({"OLD", "HERE"}))
    other = Outcome(
        "0.30.0",
        {"a": "failed", "b": "passed", "c": "skipped"},
        frozenset({"Gone"}),
        frozenset({"Run.gone"}),
        frozenset({"OddThing"}),
        frozenset({"OLD", "ODD"}),
    )
    text = table([first, other, Outcome("0.29.0", problem="it could not be installed")], ["HERE"])
    assert "| 0.31.0 | 2 | 0 | 0 | – |" in text
    assert "| 0.30.0 | 1 | 1 | 1 | a: failed, c: skipped |" in text
    assert "| 0.29.0 | – | – | – | it could not be installed |" in text
    assert "- failed: a\n- operations that were not answered: Gone" in text
    assert "- fields that were not answered: Run.gone\n" in text
    assert "- operations in its code that would not be: OddThing\n" in text
    assert "- features that are not claimed: ODD, OLD" in text
    assert "- features that 0.31.0 does not know: ODD" in text


NOT_HERE = {
    "automations": {
        "CreateAutomation", "CreateGenericWebhookIntegration", "DeleteAutomation", "UpdateAutomation",
    },
    "registries": {
        "CreateRegistryMembers", "DeleteRegistry", "DeleteRegistryMembers", "RenameRegistry",
        "UpdateTeamRegistryRole", "UpdateUserRegistryRole",
    },
    "teams and users": {
        "CreateInvite", "CreateServiceAccount", "CreateTeam", "CreateUserFromAdmin", "DeleteApiKey",
        "DeleteInvite", "GenerateApiKey",
    },
    "Launch": {
        "CreateDefaultResourceConfig", "CreateRunQueue", "DeleteFromRunQueue", "DeleteRunQueue",
        "EnqueueSweepRun", "LaunchAgent", "UpsertRunQueue", "ackRunQueueItem", "failRunQueueItem",
        "popFromRunQueue", "pushToRunQueueByName", "updateLaunchAgent", "updateRunQueueItemWarning",
    },
    "never asked for, by what the server claims": {
        "CompleteMultipartUploadArtifact", "MarkRunFilesUploaded",
    },
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.smoke
def test_the_client_asks_for_nothing_else_that_is_not_here() -> None:
    """The manual says what is not here; an operation that a new client brings is seen by this."""
    files = importlib.metadata.files("wandb") or []
    (package,) = [each for each in files if str(each) == "wandb/__init__.py"]
    found = operations_of(Path(str(package.locate())).parent)
    assert {"UpsertBucket", "CreateArtifact", "RunFiles", "Heartbeat", "GetSweep"} <= found.keys()
    assert found["FetchOrganization"] == {("query", "organization")}
    expected = {name for names in NOT_HERE.values() for name in names}
    assert unknown_operations(found) == expected
