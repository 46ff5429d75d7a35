"""docs/kubernetes.md: its values render, its objects are valid, its commands name what exists."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from helm_python import Chart
from support.chart import CHART, ROOT, merged, objects_of, rendering, scenario, workloads

from penstock_server.cli import add_commands

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

MANUAL = (ROOT / "docs" / "kubernetes.md").read_text()
SCRIPT = ROOT / "deploy" / "kind_smoke.sh"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", MANUAL, re.DOTALL | re.MULTILINE)
    assert found
    return found


def contents() -> list[dict[str, Any]]:
    return [yaml.safe_load(each) for each in blocks("yaml")]


def test_examples_of_values_are_accepted() -> None:
    examples = [each for each in contents() if "kind" not in each]
    assert len(examples) > 2
    for example in examples:
        for base in ({}, scenario("production")):
            rendering().documents(merged(base, example))


def restore_job() -> dict[str, Any]:
    (job,) = (each for each in contents() if each.get("kind") == "Job")
    return job


def test_the_restore_job_is_valid_and_sees_what_a_gateway_sees() -> None:
    import kubernetes_validate  # noqa: PLC0415

    job = restore_job()
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    (restore,) = workloads([job])
    (gateway,) = (
        each for each in workloads(objects_of("production")) if each.component == "gateway"
    )
    theirs = {each["name"]: each for each in gateway.container["env"]}
    own = {each["name"]: each for each in restore.container["env"]}
    assert own.items() <= theirs.items()
    assert {
        name for name in theirs if name.endswith(("URL", "SECRET", "TOKEN")) or "AWS" in name
    } <= own.keys()
    assert restore.container["envFrom"] == gateway.container["envFrom"]
    assert restore.labels["app.kubernetes.io/component"] == "gateway"
    assert "ports" not in restore.container
    (claim,) = objects_of("production", "PersistentVolumeClaim")
    volume = next(v for v in restore.pod["volumes"] if v["name"] == "backups")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert restore.container["image"] == gateway.container["image"]


def test_commands_of_penstock_exist() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_commands(parser.add_subparsers(required=True))
    told = [" ".join(each.replace("\\\n", " ").split()) for each in blocks("sh")]
    commands = [
        c
        for text in told
        for c in re.findall(r"-- penstock ([\w .,:/=-]+?)(?= kubectl| helm|$)", text)
    ]
    commands += re.findall(r"`(?:kubectl [^`]*-- penstock )(backup [^`]+)`", MANUAL)
    commands += re.findall(r"`(restore --from[^`]+)`", MANUAL)
    commands += [" ".join(restore_job()["spec"]["template"]["spec"]["containers"][0]["args"])]
    assert len(commands) >= 4
    for command in commands:
        parser.parse_args(command.split())


def test_objects_that_commands_name_are_rendered() -> None:
    made = {
        (each["kind"].lower(), each["metadata"]["name"])
        for name in ("default", "production", "single-load")
        for each in objects_of(name)
    }
    made |= {("persistentvolumeclaim", "data-penstock-0"), ("statefulset", "valkey")}
    kinds = "statefulset|deployment|service|cronjob|persistentvolumeclaim"
    named = set(
        re.findall(rf"\b({kinds})[/ ](penstock[\w-]*|valkey|data-[\w-]+)", "\n".join(blocks("sh")))
    )
    assert len(named) >= 8
    assert named <= made


def test_every_value_that_commands_set_exists() -> None:
    text = MANUAL.replace("\\\n", " ")
    given = dict(re.findall(r"--set ([\w.]+)=([^\s`]+)", text))
    assert len(given) > 6
    for path, value in given.items():
        values: Any = (
            int(value)
            if value.isdigit()
            else value == "true"
            if value in ("true", "false")
            else value
        )
        for name in reversed(path.split(".")):
            values = {name: values}
        base = scenario("single-load") if path.startswith("loadTest") else {}
        rendering().documents(merged(base, values))


def test_every_value_that_the_text_names_exists() -> None:
    known = yaml.safe_load((rendering().CHART / "values.yaml").read_text())
    for text in set(re.findall(r"`([a-zA-Z]+(?:\.[a-zA-Z*]+)+)`", MANUAL)):
        first = text.split(".")[0]
        if first not in known or text.endswith((".yaml", ".json", ".md")):
            continue
        value: Any = known
        for name in text.split("."):
            value = next(iter(value.values())) if name == "*" else value[name]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_accepts_the_script() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_script_uses_what_the_chart_makes() -> None:
    text = SCRIPT.read_text()
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    for path in re.findall(r"\b(deploy/[\w./-]+)", text):
        assert (ROOT / path).exists(), path
    names = {(each["kind"].lower(), each["metadata"]["name"]) for each in objects_of("default")}
    assert ("service", "penstock") in names
    assert "service/penstock" in text
    assert ("statefulset", "penstock") in names
    assert "penstock-0" in text
    # It says what it needs before it makes anything.
    done = subprocess.run(
        ["bash", str(SCRIPT)], env={"PATH": "/nowhere:/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs" in done.stderr


@pytest.mark.parametrize(
    "name",
    ["default", "production", "single-ingress-traefik", "cluster-ingress-none", "single-settings"],
)
def test_notes_name_what_was_installed(name: str) -> None:
    with Chart.load(CHART) as chart:
        texts = chart.render(values=scenario(name), name="penstock", namespace="penstock")
    notes = texts["penstock/templates/NOTES.txt"]
    made = {(each["kind"].lower(), each["metadata"]["name"]) for each in objects_of(name)}
    named = set(re.findall(r"\b(statefulset|deployment|service)/([\w-]+)", notes))
    assert named
    assert named <= made
    is_cluster = scenario(name).get("mode") == "cluster"
    assert ("penstock key create --settings" in notes) is is_cluster
    assert ("/data/penstock/api_key" in notes) is not is_cluster
    assert ("respondingTimeouts" in notes) is ("traefik" in name)
    assert f"svc:8080{scenario(name).get('rootPath', '')}\n" in notes
    assert not re.search(r"<no value>|\{\{", notes)
