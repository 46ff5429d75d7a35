"""What operators rely on: every metric is in the manual, and every metric and label that the dashboard
and the alerts use is on the page of a running installation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import promql_parser
import pytest
import yaml
from benchmarks.generate import Shape, WriterPlan, batch_bytes
from prometheus_client.parser import text_string_to_metric_families
from support.up import Up, running_up, wait_until

from penstock.wire import CONTENT_TYPE, join_batches
from penstock_common.queue.problems import PROBLEMS

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "penstock.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
SHAPE = Shape(runs=10, keys=5, rows=10)
ADDED_BY_PROMETHEUS = {"job", "instance"}

Series = dict[str, list[dict[str, str]]]
Asked = tuple[str, dict[str, str], set[str]]
"""A metric, the values that its labels must match, and labels that it must have."""


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    annotations = [each["expr"] for each in dashboard["annotations"]["list"] if "expr" in each]
    targets = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return [
        text.replace("$__rate_interval", "1m").replace("$job", ".+")
        for text in [*targets, *annotations]
    ]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def selectors(node: Any, needed: frozenset[str] = frozenset()) -> Iterator[Asked]:
    """Every selector below a node of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        equal = {
            each.name: each.value
            for each in node.matchers.matchers
            if each.op == promql_parser.MatchOp.Equal
        }
        names = {each.name for each in node.matchers.matchers}
        yield str(node.name), equal, names | needed
        return
    if isinstance(node, promql_parser.AggregateExpr):
        modifier = node.modifier
        if modifier is not None and modifier.type == promql_parser.AggModifierType.By:
            needed |= set(modifier.labels)
    children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for child in [*children, *(getattr(node, "args", None) or [])]:
        if child is not None:
            yield from selectors(child, needed)


def asked(expressions: Iterable[str]) -> list[Asked]:
    return [each for text in expressions for each in selectors(promql_parser.parse(text))]


def missing(series: Series, wanted: Iterable[Asked], recorded: set[str]) -> list[str]:
    """What is asked for and is not on the page."""
    wrong = []
    for name, equal, labels in wanted:
        if name in recorded:
            continue
        known = series.get(name, [])
        fits = [
            each
            for each in known
            if labels - ADDED_BY_PROMETHEUS <= each.keys()
            and all(each.get(label) == value for label, value in equal.items())
        ]
        if not fits:
            wrong.append(f"{name} {equal or ''} with {sorted(labels)}")
    return wrong


def test_the_check_itself_finds_what_is_missing() -> None:
    series: Series = {"a_total": [{"x": "1"}], "b_bucket": [{"le": "1.0"}]}
    good = "sum by (x) (rate(a_total[5m])) / histogram_quantile(0.9, sum by (le) (b_bucket))"
    assert not missing(series, asked([good]), set())
    for bad in (
        "c",
        "a_total{x='2'}",
        "sum by (y) (a_total)",
        "absent(-max(d))",
        "a_total > max_over_time(z[1m:])",
    ):
        assert missing(series, asked([bad]), set()), bad


def documented() -> dict[str, set[str]]:
    """Metric -> labels, as the tables of docs/operations.md have them."""
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(penstock_\w+)(?:\{([\w,]+)\})?` \|", text, re.MULTILINE)
    return {name: set(labels.split(",")) - {""} for name, labels in rows}


def test_every_alert_is_in_the_manual() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    alerts = {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}
    rows = dict(re.findall(r"^\| `(Penstock\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert rows == alerts


def test_every_problem_is_in_the_manual_and_has_one_alert() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", text, re.MULTILINE))
    assert rows == {code: "yes" if kind.stops else "no" for code, kind in PROBLEMS.items()}
    expressions = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    for alert, stops in (("PenstockProblem", True), ("PenstockWarning", False)):
        named = re.search(r'code=~"([^"]+)"', expressions[alert])
        assert named is not None
        assert set(named[1].split("|")) == {
            c for c, kind in PROBLEMS.items() if kind.stops is stops
        }


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == [
        "Promises", "Ingest", "Queue", "Worker", "Store", "Web", "Clients", "Process",
    ]  # fmt: skip


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_accepts_rules_and_configuration() -> None:
    for command in (["check", "rules", str(ALERTS)], ["check", "config", str(CONFIG)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


PROCESSES = {"gateway-0", "gateway-1", "worker-0", "store", "up"}


def page(up: Up) -> str:
    """The page with every process on it: one that does not answer at once is left out."""
    found: list[str] = []

    def is_whole() -> bool:
        with urlopen(f"{up.url}/metrics", timeout=10) as reply:
            found.append(str(reply.read().decode()))
        return set(re.findall(r'penstock_build_info\{process="([^"]+)"', found[-1])) == PROCESSES

    wait_until(is_whole)
    return found[-1]


def series_of(text: str) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def send(up: Up, project: str, seq: int) -> None:
    for run in range(SHAPE.runs):
        body = join_batches([batch_bytes(SHAPE, WriterPlan(run, 0), seq, project=project)])
        headers = {"Content-Type": CONTENT_TYPE, "Authorization": f"Bearer {up.api_key}"}
        request = Request(f"{up.url}/v1/batches", body, headers, method="POST")
        with urlopen(request, timeout=10) as reply:
            assert reply.status == 202


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_manual_dashboard_and_alerts_agree_with_a_running_installation(tmp_path: Path) -> None:
    with running_up(tmp_path, "--gateways", "2") as up:
        for seq in (1, 2, 3):
            send(up, "first", seq)
        up.get("/v1/projects")
        wait_until(lambda: "penstock_store_runs" in page(up))
        text = page(up)
        # Nothing that users choose becomes a label: other projects and runs add no series.
        before = {name: len(each) for name, each in series_of(text).items()}
        for number in range(20):
            send(up, f"other{number}", 1)
            up.get("/v1/projects")
        wait_until(lambda: committed(page(up)) >= 23 * SHAPE.runs)
        after = {name: len(each) for name, each in series_of(page(up)).items()}
    grown = {name for name, count in after.items() if count > before.get(name, 0)}
    # The other gateway may have seen a route for the first time.
    assert not {name for name in grown if not name.startswith("penstock_http_request")}

    series = series_of(text)
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("penstock_")
    }
    labels = {
        name: {label for sample in family.samples for label in sample.labels} - {"process", "le"}
        for name, family in families.items()
    }
    assert labels == documented()
    assert not missing(series, asked(dashboard_expressions()), set())
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert not missing(series, asked(rule["expr"] for rule in rules()), recorded)


def committed(text: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "penstock_worker_batches_total"
        and sample.labels["outcome"] == "committed"
    )
