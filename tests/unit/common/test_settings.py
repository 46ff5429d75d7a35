"""Settings: from the environment; one that was renamed still takes its old name, with a warning."""

from __future__ import annotations

import pytest

from penstock.errors import Rejected
from penstock_common.process.settings import GatewaySettings, WorkerSettings, load


def test_an_old_name_works_and_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    old = {"PENSTOCK_SWEEP_UNTIL_S": "7"}
    assert load(WorkerSettings, environ=old).purge_until_s == 7
    assert "PENSTOCK_SWEEP_UNTIL_S new=PENSTOCK_PURGE_UNTIL_S" in caplog.text


def test_the_new_name_wins_over_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    both = {"PENSTOCK_SWEEP_UNTIL_S": "7", "PENSTOCK_PURGE_UNTIL_S": "9"}
    assert load(WorkerSettings, environ=both).purge_until_s == 9
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("PENSTOCK_COMMIT_POINTS", "many", "an integer"),
        ("PENSTOCK_COMMIT_INTERVAL_S", "soon", "a number"),
        ("PENSTOCK_VOLATILE_QUEUE", "maybe", "0 or 1"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, text: str, kind: str) -> None:
    settings = GatewaySettings if name == "PENSTOCK_VOLATILE_QUEUE" else WorkerSettings
    with pytest.raises(Rejected, match=f"{name} must be {kind}, not '{text}'"):
        load(settings, environ={name: text})
