"""What Kubernetes forbids to change stays the same, whatever values or versions change; data outlives it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helm_python import Chart
from support.chart import (
    CHART,
    OPTIONS,
    base_values,
    merged,
    objects_of,
    rendering,
    scenario,
    workloads,
)

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

Object = dict[str, Any]
IMMUTABLE = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Job": ("selector", "template", "completionMode", "completions"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName", "volumeMode", "resources"),
    "Service": ("clusterIP",),
    "PriorityClass": ("value", "preemptionPolicy"),
}
"""Fields of an object's `spec` (of a PriorityClass, of itself) that an update may not change."""
CHANGES_CLAIMS = {"classes", "names"}
"""Options that make other volumes or other objects, which docs/kubernetes.md says."""


def frozen(found: list[Object]) -> dict[tuple[str, str], str]:
    """The immutable fields of each object."""
    kept = {}
    for each in found:
        if names := IMMUTABLE.get(each["kind"]):
            content = each.get("spec", each)
            kept[each["kind"], each["metadata"]["name"]] = json.dumps(
                {name: content.get(name) for name in names}, sort_keys=True
            )
    return kept


def refused(before: list[Object], after: list[Object]) -> list[tuple[str, str]]:
    """The objects whose update Kubernetes would refuse."""
    old, new = frozen(before), frozen(after)
    return [which for which, content in new.items() if which in old and old[which] != content]


def test_the_check_itself() -> None:
    before = objects_of("default")
    for change in (
        {"single": {"persistence": {"size": "21Gi"}}},
        {"nameOverride": "other", "fullnameOverride": "penstock"},
    ):
        assert refused(before, rendering().objects(change)), change
    assert not refused(before, rendering().objects({"single": {"workers": 2}}))


@pytest.mark.parametrize("mode", ["single", "cluster"])
def test_no_option_changes_what_must_not_change(mode: str) -> None:
    """In either direction: an option may be set later, and unset again."""
    base = rendering().objects(base_values(mode))
    for name in OPTIONS.keys() - CHANGES_CLAIMS:
        changed = objects_of(f"{mode}-{name}")
        assert not refused(base, changed), name
        assert not refused(changed, base), name


def next_version(folder: Path) -> Path:
    """The chart as the next release might have it."""
    chart = folder / "penstock"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    assert text.count("0.1.0") == 2
    (chart / "Chart.yaml").write_text(text.replace("0.1.0", "0.2.0"))
    return chart


@pytest.mark.parametrize(
    "name", ["default", "production", "cluster-store", "single-load", "cluster-backup"]
)
def test_an_upgrade_changes_pods_and_nothing_that_must_not_change(
    name: str, tmp_path: Path
) -> None:
    values = scenario(name)
    before = rendering().objects(values)
    with Chart.load(next_version(tmp_path)) as chart:
        texts = chart.render(
            values=values, name="penstock", namespace="penstock", revision=2, is_upgrade=True
        )
    after = [
        rendering().parsed(each)
        for k, t in texts.items()
        if k.endswith(".yaml")
        for each in t.split("\n---\n")
    ]
    after = [each for each in after if each]
    assert not refused(before, after)
    images = {w.component: w.container["image"] for w in workloads(after)}
    assert all(image.endswith(":0.2.0") for image in images.values())
    # Everything that keeps data has the same name.
    kept = {
        (o["kind"], o["metadata"]["name"])
        for o in before
        if o["kind"] in ("StatefulSet", "PersistentVolumeClaim")
    }
    assert kept <= {(o["kind"], o["metadata"]["name"]) for o in after}


def test_a_volume_of_one_writer_is_never_shared_by_a_rolling_update() -> None:
    """A Deployment would start the new pod, which waits for the volume that the old one holds."""
    for name in ("default", "production", "cluster-store", "single-together", "cluster-together"):
        for each in workloads(objects_of(name)):
            has_claim = any("persistentVolumeClaim" in v for v in each.pod.get("volumes", []))
            if each.kind == "Deployment":
                assert not has_claim, each.name
            if each.kind == "StatefulSet":
                assert each.spec["replicas"] == 1
                assert not has_claim
    for each in workloads(objects_of("single-backup")):
        if each.component == "backup":
            # Two pods may share it on one node only.
            (near,) = each.pod["affinity"]["podAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]
            assert near["topologyKey"] == "kubernetes.io/hostname"
            server = next(
                w for w in workloads(objects_of("single-backup")) if w.component == "single"
            )
            assert near["labelSelector"]["matchLabels"].items() <= server.labels.items()
            claim = next(v for v in each.pod["volumes"] if v["name"] == "data")[
                "persistentVolumeClaim"
            ]["claimName"]
            assert (
                claim
                == f"{server.spec['volumeClaimTemplates'][0]['metadata']['name']}-{server.name}-0"
            )


def test_volumes_outlive_the_release() -> None:
    for name in ("default", "cluster-store"):
        for each in objects_of(name, "StatefulSet"):
            policy = each["spec"]["persistentVolumeClaimRetentionPolicy"]
            assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = objects_of("cluster-backup", "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_old_pods_go_on_while_a_new_one_migrates() -> None:
    for each in workloads(objects_of("production")):
        if each.kind == "Deployment":
            rolling = each.spec["strategy"]["rollingUpdate"]
            assert rolling == {"maxSurge": 1, "maxUnavailable": 0}, each.name
    for name in ("default", "production"):
        assert not [
            e for e in objects_of(name) if e["metadata"].get("annotations", {}).get("helm.sh/hook")
        ]


def test_a_cluster_answers_at_the_address_of_the_single_pod() -> None:
    """Clients keep their URL when an installation grows."""

    def address(found: list[Object]) -> Mapping[str, Any]:
        return next(
            e for e in found if e["kind"] == "Service" and e["metadata"]["name"] == "penstock"
        )

    before, after = address(objects_of("default")), address(objects_of("production"))
    assert before["spec"]["ports"] == after["spec"]["ports"]
    gateway = next(w for w in workloads(objects_of("production")) if w.component == "gateway")
    assert after["spec"]["selector"].items() <= gateway.labels.items()
    # It serves all of the API, as the single pod does.
    assert {"name": "PENSTOCK_SERVES", "value": "all"} in gateway.container["env"]


def test_a_job_that_changes_gets_another_name() -> None:
    names = {
        each["metadata"]["name"]
        for change in (
            {},
            {"loadTest": {"seconds": 61}},
            {"image": {"tag": "0.1.1"}},
            {"maxUploadGiB": 5},
        )
        for each in rendering().objects(merged(scenario("single-load"), change))
        if each["kind"] == "Job"
    }
    assert len(names) == 8
