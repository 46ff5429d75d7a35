"""The recipes of deploy/training: valid for the API server's schemas where these are at hand, and by our own rules.

JobSet, PyTorchJob, RayJob and Workflow are definitions of others, whose schemas are not here: of them only the pods and
Jobs inside are validated, and that their own fields are among those we know.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped,unused-ignore]
import pytest
import yaml

import penstock
from penstock.notices import NOTICES
from penstock.settings import _RANK_VARIABLES, _VARIABLES, Settings

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/training"
FILES = sorted(FOLDER.glob("*.yaml"))
SCRIPTS = sorted([*FOLDER.glob("*.sbatch"), *FOLDER.glob("*.sh")])
KNOWN = {each for names in _VARIABLES.values() for each in names} | set(_RANK_VARIABLES)
CORE = {"v1", "batch/v1", "apps/v1"}
JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"
RUN_IDS = {
    "Job": JOB_NAME,
    "JobSet": "metadata.labels['jobset.sigs.k8s.io/jobset-name']",
    "PyTorchJob": "metadata.labels['training.kubeflow.org/job-name']",
}
# The fields of others' definitions that the recipes use, by where they are: a typing error is noticed.
FIELDS: dict[str, dict[str, set[str]]] = {
    "JobSet": {
        "spec": {"failurePolicy", "replicatedJobs"},
        "spec.failurePolicy": {"maxRestarts"},
        "spec.replicatedJobs.0": {"name", "replicas", "template"},
    },
    "PyTorchJob": {
        "spec": {"nprocPerNode", "runPolicy", "pytorchReplicaSpecs"},
        "spec.runPolicy": {"cleanPodPolicy", "backoffLimit"},
        "spec.pytorchReplicaSpecs": {"Master", "Worker"},
        "spec.pytorchReplicaSpecs.Master": {"replicas", "restartPolicy", "template"},
        "spec.pytorchReplicaSpecs.Worker": {"replicas", "restartPolicy", "template"},
    },
    "RayJob": {
        "spec": {
            "entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
            "runtimeEnvYAML", "submitterPodTemplate", "rayClusterSpec",
        },
        "spec.rayClusterSpec": {"headGroupSpec", "workerGroupSpecs"},
        "spec.rayClusterSpec.headGroupSpec": {"rayStartParams", "template"},
        "spec.rayClusterSpec.workerGroupSpecs.0": {
            "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template",
        },
    },
    "Workflow": {
        "spec": {
            "entrypoint", "onExit", "automountServiceAccountToken", "executor", "securityContext",
            "tolerations", "podSpecPatch", "volumeClaimTemplates", "volumeClaimGC", "volumes", "templates",
        },
        "spec.templates.0": {"name", "retryStrategy", "container"},
        "spec.templates.1": {"name", "container"},
    },
}  # fmt: skip
API_VERSIONS = {
    "JobSet": "jobset.x-k8s.io/v1alpha2",
    "PyTorchJob": "kubeflow.org/v1",
    "RayJob": "ray.io/v1",
    "Workflow": "argoproj.io/v1alpha1",
}


@dataclass(frozen=True)
class RecipePod:
    """A pod that a recipe makes."""

    file: str
    kind: str
    name: str
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        (found,) = self.spec["containers"]
        return dict(found)

    @property
    def environ(self) -> dict[str, Any]:
        """A text, or where it comes from."""
        listed = self.container.get("env", [])
        found = {each["name"]: each.get("value", each.get("valueFrom")) for each in listed}
        assert len(found) == len(listed), "a variable is there twice"
        return found

    @property
    def is_training(self) -> bool:
        return "PENSTOCK_PROJECT" in self.environ

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.spec.get("volumes", [])}

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """The volume at each path."""
        return {
            each["mountPath"]: self.volumes[each["name"]] for each in self.container["volumeMounts"]
        }


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def pods_of(file: str, document: Mapping[str, Any]) -> Iterator[RecipePod]:
    kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec", {})
    templates: list[Any] = []
    if kind in ("Job", "DaemonSet"):
        templates = [spec["template"]]
    elif kind == "CronJob":
        templates = [spec["jobTemplate"]["spec"]["template"]]
    elif kind == "JobSet":
        templates = [each["template"]["spec"]["template"] for each in spec["replicatedJobs"]]
    elif kind == "PyTorchJob":
        templates = [each["template"] for each in spec["pytorchReplicaSpecs"].values()]
    elif kind == "RayJob":
        cluster = spec["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        templates = [spec["submitterPodTemplate"], *(each["template"] for each in groups)]
    elif kind == "Workflow":
        claims = [
            {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": "made"}}
            for each in spec["volumeClaimTemplates"]
        ]
        common = {
            name: spec[name]
            for name in ("automountServiceAccountToken", "securityContext", "tolerations")
        }
        patch = yaml.safe_load(spec["podSpecPatch"])
        for each in spec["templates"]:
            container = {"name": each["name"], **each["container"]}
            volumes = [*claims, *spec["volumes"]]
            templates.append(
                {"spec": {**common, **patch, "containers": [container], "volumes": volumes}}
            )
    return (RecipePod(file, kind, name, each["spec"]) for each in templates)


DOCUMENTS = [*documents()]
PODS = [pod for file, document in DOCUMENTS for pod in pods_of(file, document)]
TRAINING = [pod for pod in PODS if pod.is_training]


def ids(pod: RecipePod) -> str:
    return f"{pod.file}-{pod.container['name']}"


each_pod = pytest.mark.parametrize("pod", PODS, ids=ids)
each_training_pod = pytest.mark.parametrize("pod", TRAINING, ids=ids)


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([KMGT]i)?", str(text)).groups()  # type: ignore[union-attr]
    return int(number) << {None: 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}[unit]


def test_there_is_a_recipe_for_each() -> None:
    kinds = [document["kind"] for _, document in DOCUMENTS]
    assert {"Job", "JobSet", "PyTorchJob", "RayJob", "Workflow", "DaemonSet", "CronJob"} <= {*kinds}
    assert len(TRAINING) >= 10
    assert [path.name for path in SCRIPTS] == ["array.sbatch", "slurm-epilog.sh", "train.sbatch"]


@pytest.mark.parametrize(("file", "document"), DOCUMENTS, ids=[file for file, _ in DOCUMENTS])
def test_it_is_valid(file: str, document: dict[str, Any]) -> None:
    newest = kubernetes_validate.latest_version()
    kind = document["kind"]
    if document["apiVersion"] in CORE:
        kubernetes_validate.validate(document, newest, strict=True)
        return
    assert document["apiVersion"] == API_VERSIONS[kind]
    assert {*document} == {"apiVersion", "kind", "metadata", "spec"}
    for place, known in FIELDS[kind].items():
        found: Any = document
        for part in place.split("."):
            found = found[int(part)] if part.isdigit() else found[part]
        assert {*found} <= known, (file, place)
    if kind == "JobSet":
        for each in document["spec"]["replicatedJobs"]:
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": each["name"]}}
            kubernetes_validate.validate({**job, **each["template"]}, newest, strict=True)


@each_pod
def test_its_pods_are_valid(pod: RecipePod) -> None:
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod.spec}
    kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)


@each_pod
def test_a_pod_has_no_rights_and_no_token(pod: RecipePod) -> None:
    spec, container = pod.spec, pod.container
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == 20_001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for forbidden in ("hostNetwork", "hostPID", "hostIPC", "initContainers"):
        assert forbidden not in spec


@each_pod
def test_a_pod_has_limits_that_its_volumes_fit_in(pod: RecipePod) -> None:
    limits, requests = (pod.container["resources"][name] for name in ("limits", "requests"))
    for name in ("cpu", "memory", "ephemeral-storage"):
        assert name in limits
        assert name in requests
    empty = [each["emptyDir"] for each in pod.mounts.values() if "emptyDir" in each]
    assert all("sizeLimit" in each for each in empty)
    on_disk = sum(size(each["sizeLimit"]) for each in empty if each.get("medium") != "Memory")
    in_memory = sum(size(each["sizeLimit"]) for each in empty if each.get("medium") == "Memory")
    assert on_disk <= size(limits["ephemeral-storage"])
    assert in_memory < size(limits["memory"])


@each_pod
def test_its_image_has_a_version_and_its_command_no_shell(pod: RecipePod) -> None:
    """A shell as the first process would keep SIGTERM for itself."""
    name, _, tag = pod.container["image"].rpartition(":")
    assert name
    assert tag not in ("", "latest")
    if name.endswith("/penstock-agent"):
        assert tag == penstock.__version__
        assert pod.container["command"][:2] == ["penstock", "sync"]
    command = pod.container.get("command", [])
    assert command or pod.kind == "RayJob"
    assert not {"sh", "bash", "/bin/sh", "/bin/bash", "-c"} & {*command}


@each_pod
def test_every_variable_is_a_setting_with_a_value_that_is_taken(
    pod: RecipePod, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("PENSTOCK_", "WANDB_"))]:
        monkeypatch.delenv(name)
    environ = {**pod.environ, **(ray_environ() if pod.kind == "RayJob" else {})}
    assert {*environ} <= KNOWN
    for name, value in environ.items():
        text = value if isinstance(value, str) else "1"
        monkeypatch.setenv(name, text.replace("{{workflow.name}}", "resnet"))
    said: list[str] = []
    monkeypatch.setattr(NOTICES, "warn", lambda name, text: said.append(text))
    settings = Settings.resolve(None, {})
    assert not said
    assert not settings.problem


@each_pod
def test_the_key_comes_from_a_secret_and_may_be_missing(pod: RecipePod) -> None:
    """A Secret that is not there must not keep a job from starting: its data waits."""
    if "PENSTOCK_BASE_URL" not in pod.environ:
        assert pod.container["name"] == "submitter"
        return
    assert pod.environ["PENSTOCK_API_KEY"] == {
        "secretKeyRef": {"name": "penstock", "key": "api-key", "optional": True}
    }
    assert pod.environ["PENSTOCK_BASE_URL"].startswith("https://")


@each_training_pod
def test_the_spool_lies_on_a_volume(pod: RecipePod) -> None:
    environ = pod.environ
    folder = Path(environ["PENSTOCK_DIR"])
    mounted = [path for path in pod.mounts if folder.is_relative_to(path)]
    assert len(mounted) == 1, "not on a volume"
    volume = pod.mounts[mounted[0]]
    limit = int(environ["PENSTOCK_SPOOL_LIMIT_BYTES"])
    if "hostPath" in volume:
        assert volume["hostPath"] == {"path": "/var/lib/penstock/vision", "type": "Directory"}
        return
    # A volume's own folder belongs to root: the client makes one of its own.
    assert folder != Path(mounted[0])
    assert "fsGroup" in pod.spec["securityContext"]
    if "emptyDir" in volume:
        assert "medium" not in volume["emptyDir"]
        assert limit * 3 // 2 <= size(volume["emptyDir"]["sizeLimit"])
        # Only a restarted container finds it again.
        assert pod.spec["restartPolicy"] == "OnFailure"
    else:
        # On a network file system the folder's name, which must outlive the pod.
        name = environ["PENSTOCK_HOST_NAME"]
        assert name in ("{{workflow.name}}", {"fieldRef": {"fieldPath": JOB_NAME}})


@each_training_pod
def test_nothing_blocks_the_job_and_there_is_time_for_its_end(pod: RecipePod) -> None:
    environ = pod.environ
    assert environ["PENSTOCK_ON_FULL"] == "drop"
    assert (
        float(environ["PENSTOCK_FINISH_TIMEOUT_S"]) + 30
        <= (pod.spec["terminationGracePeriodSeconds"])
    )
    assert pod.mounts["/tmp"]["emptyDir"]
    assert pod.mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"


@each_training_pod
def test_a_new_pod_continues_the_run(pod: RecipePod) -> None:
    environ = {**pod.environ, **(ray_environ() if pod.kind == "RayJob" else {})}
    assert environ["PENSTOCK_RESUME"] == "allow"
    expected: dict[str, Any] = {"Workflow": "{{workflow.name}}", "RayJob": pod.name}
    if pod.kind in RUN_IDS:
        expected[pod.kind] = {"fieldRef": {"fieldPath": RUN_IDS[pod.kind]}}
    assert environ["PENSTOCK_RUN_ID"] == expected[pod.kind]


@each_training_pod
def test_several_processes_of_a_run_know_their_rank(pod: RecipePod) -> None:
    environ = {**pod.environ, **(ray_environ() if pod.kind == "RayJob" else {})}
    (document,) = [
        each for file, each in DOCUMENTS if file == pod.file and each["kind"] == pod.kind
    ]
    is_indexed = document["spec"].get("completionMode") == "Indexed"
    is_shared = is_indexed or pod.kind in ("JobSet", "PyTorchJob", "RayJob")
    assert (environ.get("PENSTOCK_MODE") == "shared") == is_shared
    has_torchrun = "torchrun" in pod.container.get("command", [])
    assert ("PENSTOCK_RANK" in environ) == is_indexed
    assert not is_shared or is_indexed or has_torchrun or pod.kind == "RayJob"


def test_eight_times_eight_ranks() -> None:
    (jobset,) = [each for _, each in DOCUMENTS if each["kind"] == "JobSet"]
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    command = job["template"]["spec"]["containers"][0]["command"]
    assert (job["completions"], job["parallelism"]) == (8, 8)
    assert {"--nnodes=8", "--nproc-per-node=8"} <= {*command}
    name, replicated = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"][0]["name"]
    assert f"--master-addr={name}-{replicated}-0-0.{name}" in command
    (pytorch,) = [each for _, each in DOCUMENTS if each["kind"] == "PyTorchJob"]
    replicas = pytorch["spec"]["pytorchReplicaSpecs"]
    assert pytorch["spec"]["nprocPerNode"] == "8"
    assert sum(each["replicas"] for each in replicas.values()) == 8
    pods = [pod for pod in TRAINING if pod.kind in ("JobSet", "PyTorchJob")]
    assert {pod.container["resources"]["limits"]["nvidia.com/gpu"] for pod in pods} == {"8"}
    (ray,) = [each for _, each in DOCUMENTS if each["kind"] == "RayJob"]
    group = ray["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert {group[name] for name in ("replicas", "minReplicas", "maxReplicas")} == {8}


def test_the_agent_serves_the_folder_of_the_pods_as_their_user() -> None:
    (agent,) = [pod for pod in PODS if pod.kind == "DaemonSet"]
    assert agent.container["command"] == ["penstock", "sync", "--stay"]
    used = [pod for pod in TRAINING if "hostPath" in pod.mounts["/spool"]]
    assert len(used) >= 5
    for pod in used:
        assert agent.mounts["/spool"]["hostPath"] == pod.mounts["/spool"]["hostPath"]
        assert pod.environ["PENSTOCK_DIR"] == agent.environ["PENSTOCK_DIR"] == "/spool"
        assert pod.spec["securityContext"]["runAsUser"] == 20_001
    assert agent.spec["tolerations"] == [{"operator": "Exists"}]


def ray_environ() -> dict[str, str]:
    (ray,) = [each for _, each in DOCUMENTS if each["kind"] == "RayJob"]
    return dict(yaml.safe_load(ray["spec"]["runtimeEnvYAML"])["env_vars"])


# ---- Slurm


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    text = script.read_text()
    # SPOOLS is the epilog's own.
    assert {*re.findall(r"PENSTOCK_[A-Z_]+", text)} <= {*KNOWN, "PENSTOCK_SPOOLS"}
    assert "penstock_" not in text, "a key"
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


class Slurm:
    """Commands that stand in for Slurm's, which is not here: `srun` runs what it gets, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._add(
            "srun", 'echo "srun $*" >> "$LOG"\nwhile [ "${1#-}" != "$1" ]; do shift; done\n"$@"'
        )
        self._add("scontrol", 'echo "scontrol $*" >> "$LOG"')
        self._add("penstock", 'echo "penstock $* in ${PENSTOCK_DIR:-}" >> "$LOG"')

    def _add(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str, train: str, **environ: str) -> tuple[int, list[str]]:
        """The exit status of a batch script, and the commands that it gave."""
        self._add("python", f'env | grep -E "^(PENSTOCK|SLURM)_" | sort >> "$LOG"\n{train}')
        self.log.write_text("")
        done = subprocess.run(
            ["bash", str(FOLDER / script)],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "LOG": str(self.log), **environ},
            timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, self.log.read_text().splitlines()


@pytest.mark.parametrize(("status", "is_requeued"), [(0, False), (1, False), (143, True)])
def test_a_job_that_got_sigterm_is_requeued_and_its_nodes_are_emptied(
    tmp_path: Path, status: int, is_requeued: bool
) -> None:
    ended, commands = Slurm(tmp_path).run(
        "train.sbatch", f"exit {status}", SLURM_JOB_ID="77", SLURM_NNODES="8"
    )
    assert ended == status
    assert "srun --ntasks=8 --ntasks-per-node=1 penstock sync --timeout 60" in commands
    assert f"penstock sync --timeout 60 in /var/tmp/penstock-{os.getuid()}" in commands
    assert ("scontrol requeue 77" in commands) == is_requeued
    assert "PENSTOCK_MODE=shared" in commands


def test_every_task_of_an_array_has_a_run_of_its_own(tmp_path: Path) -> None:
    slurm = Slurm(tmp_path)
    found = set()
    for task in ("0", "9"):
        ended, commands = slurm.run(
            "array.sbatch", "exit 3", SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID=task
        )
        assert ended == 3
        assert "PENSTOCK_RUN_GROUP=lr-5" in commands
        found |= {line for line in commands if line.startswith("PENSTOCK_RUN_ID=")}
        found |= {line.split()[-1] for line in commands if line.startswith("srun")}
    assert found == {"PENSTOCK_RUN_ID=5-0", "PENSTOCK_RUN_ID=5-9", "1e-4", "2e-2"}


# ---- the page


def test_the_page_names_every_recipe_and_no_other() -> None:
    page = (ROOT / "docs/clusters.md").read_text()
    named = {*re.findall(r"\]\(\.\./deploy/training/([\w.-]+)\)", page)}
    assert named == {path.name for path in [*FILES, *SCRIPTS]}
