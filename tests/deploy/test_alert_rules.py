"""What the alerts and the autoscaler's queries make of numbers, computed by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import ROOT, objects_of

from penstock_common.queue.redis_keys import SHARDS

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.smoke,
    pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed"),
]

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
CASES = RULES.with_name("alerts_test.yml")


def promtool(path: Path) -> str:
    """What is wrong; empty if all cases come out as they say."""
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_alerts_fire_when_they_should() -> None:
    assert not promtool(CASES)


@pytest.mark.parametrize(("name", "old", "new"), [
    ("PenstockNoCommits", "> 60", "> 6000"),
    ("PenstockShardUnowned", "for: 1m", "for: 1h"),
    ("PenstockRefusing", "> 0.01", "> 0.5"),
])  # fmt: skip
def test_the_cases_notice_a_wrong_rule(name: str, old: str, new: str, tmp_path: Path) -> None:
    text = RULES.read_text()
    start = text.index(f"alert: {name}\n")
    assert old in text[start:]
    (tmp_path / "alerts.yml").write_text(text[:start] + text[start:].replace(old, new, 1))
    shutil.copy(CASES, tmp_path)
    assert name in promtool(tmp_path / CASES.name)


def test_every_alert_that_pages_has_a_case_for_both() -> None:
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    paging = {rule["alert"] for rule in rules if rule.get("labels", {}).get("severity") == "page"}
    cases = [
        c
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for c in test.get("alert_rule_test", [])
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == paging
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} >= paging


def workers_wanted(ages_s: list[float], sizes: list[int], tmp_path: Path) -> dict[str, int]:
    """How many workers each trigger asks for: the query's value by its threshold, rounded up."""
    (scaled,) = objects_of("production", "ScaledObject")
    target = '{namespace="penstock",job="penstock",process="worker-1",shard="%d"}'
    series = [
        {"series": f"penstock_{name}{target % shard}", "values": f"{value}x4"}
        for name, values in (("stream_oldest_entry_seconds", ages_s), ("stream_bytes", sizes))
        for shard, value in enumerate(values)
    ]
    # The owner of shard 0 before it changed, and another installation: neither counts.
    for process, namespace in (("worker-0", "penstock"), ("worker-1", "other")):
        labels = f'{{namespace="{namespace}",job="penstock",process="{process}",shard="3"}}'
        series.append({"series": f"penstock_stream_bytes{labels}", "values": f"{sizes[3]}x4"})
        series.append(
            {"series": f"penstock_stream_oldest_entry_seconds{labels}", "values": f"{ages_s[3]}x4"}
        )
    found = {}
    for trigger in scaled["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        case: dict[str, Any] = {"expr": query, "eval_time": "1m", "exp_samples": []}
        content = {
            "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [case]}]
        }
        path = tmp_path / "query.yml"
        path.write_text(yaml.safe_dump(content))
        value = re.search(r"\{\} ([\d.eE+]+)", promtool(path))
        assert value is not None, promtool(path)
        found[trigger["name"]] = -(-int(float(value[1])) // int(trigger["metadata"]["threshold"]))
    return found


@pytest.mark.parametrize(
    ("ages_s", "size", "expected"),
    [
        ([0.0] * SHARDS, 0, {"backlog-age": 0, "backlog-bytes": 0}),
        # At rest batches wait for up to 5 s.
        ([5.0] * SHARDS, 1 << 20, {"backlog-age": 1, "backlog-bytes": 1}),
        # One shard is late: more workers would not help it.
        ([3600.0] + [0.0] * (SHARDS - 1), 0, {"backlog-age": 1, "backlog-bytes": 0}),
        # All are.
        ([30.0] * SHARDS, 16 << 20, {"backlog-age": 4, "backlog-bytes": 4}),
        ([900.0] * SHARDS, 128 << 20, {"backlog-age": 8, "backlog-bytes": 32}),
    ],
)
def test_workers_wanted_for_a_backlog(
    ages_s: list[float], size: int, expected: dict[str, int], tmp_path: Path
) -> None:
    assert workers_wanted(ages_s, [size] * SHARDS, tmp_path) == expected
