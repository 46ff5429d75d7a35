"""Renders deploy/kubernetes from the Helm chart: `make manifests`.

Also brings into the chart what it has from elsewhere: alerts, the dashboard, and the names of the settings
that `values.schema.json` allows. With `--check` it writes nothing, lists what differs, and fails if anything does.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

from penstock_common.process.settings import GatewaySettings, WorkerSettings

__all__ = ["CHART", "KUBERNETES", "documents", "main", "objects", "setting_names", "values_of"]

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "penstock"
KUBERNETES = ROOT / "deploy" / "kubernetes"
RENDERED: dict[str, str] = {"small": "", "production": "values-production.yaml"}
"""A folder of deploy/kubernetes, and the chart's values for it."""
_COPIED = {
    "files/alerts.yml": "deploy/prometheus/alerts.yml",
    "files/dashboard.json": "deploy/grafana/penstock.json",
}
_HEAD = "# Rendered from deploy/helm/penstock by `make manifests`; do not edit.\n"
_KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
SET_BY_CHART = frozenset(
    {
        "PENSTOCK_BLOBS_URL", "PENSTOCK_CATALOG_URL", "PENSTOCK_HOST", "PENSTOCK_METRICS_LISTEN",
        "PENSTOCK_METRICS_PEERS", "PENSTOCK_METRICS_SOCKET", "PENSTOCK_PORT", "PENSTOCK_REDIS_URL",
        "PENSTOCK_ROOT_PATH", "PENSTOCK_SECRET", "PENSTOCK_SERVES", "PENSTOCK_STORE_TOKEN",
        "PENSTOCK_STORE_URL", "PENSTOCK_TRUSTED_PROXIES", "PENSTOCK_UPLOAD_BYTES",
        "PENSTOCK_DRAIN_S", "PENSTOCK_PRE_STOP_S", "PENSTOCK_WORKER_FOLDER", "PENSTOCK_WORKER_NAME",
    }
)  # fmt: skip
"""Settings that have values of their own, or that must fit to what the chart does."""


def setting_names() -> list[str]:
    """Every setting of the servers, as an environment variable."""
    kinds = (GatewaySettings, WorkerSettings)
    return sorted({f"PENSTOCK_{each.name.upper()}" for kind in kinds for each in fields(kind)})


def documents(values: Mapping[str, Any] | None = None, **release: Any) -> dict[str, str]:
    """The objects' YAML by `kind-name`, of a release `penstock` in namespace `penstock` unless named."""
    with Chart.load(CHART) as chart:
        texts = chart.render(
            values=dict(values or {}), **{"name": "penstock", "namespace": "penstock", **release}
        )
    found: dict[str, str] = {}
    for template, text in sorted(texts.items()):
        if template.endswith(".yaml"):
            for each, content in _split(text):
                name = f"{content['kind']}-{content['metadata']['name']}".lower()
                if name in found:
                    raise ValueError(f"{name} is rendered twice")
                found[name] = each
    return found


def objects(values: Mapping[str, Any] | None = None, **release: Any) -> list[dict[str, Any]]:
    """The rendered objects."""
    return [parsed(text) for text in documents(values, **release).values()]


def parsed(text: str) -> Any:
    """The content of a YAML document. The dashboard takes a second without libyaml."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def _split(text: str) -> Iterator[tuple[str, Any]]:
    """Each document without empty lines, and its content."""
    for each in re.split(r"^---\s*$", text, flags=re.MULTILINE):
        if (content := parsed(each)) is not None:
            lines = (line.rstrip() for line in each.strip("\n").splitlines())
            yield "\n".join(line for line in lines if line) + "\n", content


def values_of(name: str) -> dict[str, Any]:
    """The values of a rendered folder."""
    file = RENDERED[name]
    return dict(parsed((CHART / file).read_text())) if file else {}


def _chart_files() -> dict[Path, str]:
    """What the chart has from elsewhere."""
    found = {CHART / name: (ROOT / source).read_text() for name, source in _COPIED.items()}
    return {**found, CHART / "values.schema.json": _schema()}


def generated() -> dict[Path, str]:
    """Every rendered file, with its content."""
    found: dict[Path, str] = {}
    for name in RENDERED:
        folder, texts = KUBERNETES / name, documents(values_of(name))
        for each, text in texts.items():
            # These are applied with kubectl; Helm does not manage them.
            found[folder / f"{each}.yaml"] = _HEAD + text.replace(
                "managed-by: Helm", "managed-by: kubectl"
            )
        kustomization = {**_KUSTOMIZATION, "resources": [f"{each}.yaml" for each in sorted(texts)]}
        found[folder / "kustomization.yaml"] = _HEAD + yaml.safe_dump(
            kustomization, sort_keys=False
        )
    return found


def _schema() -> str:
    """The schema with the present names of settings."""
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    names = [name for name in setting_names() if name not in SET_BY_CHART]
    schema["properties"]["settings"]["propertyNames"]["enum"] = names
    return json.dumps(schema, indent=2) + "\n"


def _stale(expected: Mapping[Path, str]) -> list[Path]:
    """Files in rendered folders that nothing renders any more."""
    there = [path for name in RENDERED for path in (KUBERNETES / name).glob("*.yaml")]
    return [path for path in there if path not in expected]


def main(arguments: list[str]) -> int:
    """Write, or compare, all files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail if anything differs"
    )
    is_check = parser.parse_args(arguments).check
    # The chart's own files first: rendering reads them.
    expected = _chart_files()
    if not is_check:
        for path, text in expected.items():
            path.write_text(text)
    expected |= generated()
    changed = [p for p, text in expected.items() if not p.exists() or p.read_text() != text]
    stale = _stale(expected)
    for path in [*changed, *stale]:
        sys.stdout.write(f"{path.relative_to(ROOT)}{' differs' if is_check else ''}\n")
    if is_check:
        return 1 if changed or stale else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected[path])
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
