"""What nothing answers is named once and counted always, within bounds."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry

from penstock_common.process.metrics import GatewayMetrics
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.unanswered import Unanswered


@pytest.fixture
def gateway() -> GatewayMetrics:
    return GatewayMetrics()


@pytest.fixture
def unanswered(gateway: GatewayMetrics) -> Unanswered:
    return Unanswered(WandbMetrics(gateway))


def counted(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.labels["operation"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "penstock_wandb_unknown_operations_total"
    }


def test_an_operation_is_named_once_and_counted_always(
    unanswered: Unanswered, gateway: GatewayMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        unanswered.operation("NewThing", "Penstock does not know the query 'newThing'")
    unanswered.operation("", "no name")
    assert counted(gateway.registry) == {"NewThing": 3, "unnamed": 1, "other": 0}
    named = [record for record in caplog.records if "operation=NewThing" in record.getMessage()]
    assert len(named) == 1
    assert "newThing" in named[0].getMessage()


def test_names_are_bounded(
    unanswered: Unanswered, gateway: GatewayMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(300):
        unanswered.operation(f"{'x' * 200}" if number == 0 else f"Op{number}", "unknown")
        unanswered.field(f"Type.field{number}")
    found = counted(gateway.registry)
    assert len(found) == 101
    assert found["other"] == 200
    assert max(map(len, found)) == 80
    assert len(caplog.records) == 100 + 200
