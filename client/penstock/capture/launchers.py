"""Who started a process: the variables of launchers that are known to hold no secrets, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["launcher_facts"]

_KINDS = (
    ("slurm", "SLURM_JOB_ID"),
    ("torchrun", "TORCHELASTIC_RUN_ID"),
    ("kubernetes", "KUBERNETES_SERVICE_HOST"),
    ("ray", "RAY_JOB_ID"),
    ("mpi", "OMPI_COMM_WORLD_SIZE"),
    ("mpi", "PMI_SIZE"),
    ("pbs", "PBS_JOBID"),
    ("lsf", "LSB_JOBID"),
)
"""By a variable that each sets."""
_KNOWN = (
    *(f"SLURM_{name}" for name in (
        "JOB_ID", "JOB_NAME", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "STEP_ID", "CLUSTER_NAME", "JOB_PARTITION",
        "JOB_QOS", "JOB_NODELIST", "NNODES", "NODEID", "NTASKS", "PROCID", "LOCALID", "CPUS_PER_TASK",
        "GPUS_ON_NODE", "MEM_PER_NODE", "RESTART_COUNT", "JOB_END_TIME",
    )),
    "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS",
    "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "POD_NAME", "POD_NAMESPACE", "POD_UID", "NODE_NAME", "JOB_NAME", "JOB_COMPLETION_INDEX",
    "RAY_JOB_ID", "RAY_NODE_TYPE_NAME", "RAY_CLUSTER_NAME",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE",
    "PBS_JOBID", "PBS_JOBNAME", "PBS_QUEUE", "LSB_JOBID", "LSB_JOBNAME", "LSB_QUEUE",
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
)  # fmt: skip
_MAX_CHARS = 500


def launcher_facts(environment: Mapping[str, str], redact: Callable[[str], str]) -> dict[str, str]:
    """`kind` (several with +) and the known variables that are set; empty without a launcher."""
    kinds = dict.fromkeys(kind for kind, variable in _KINDS if environment.get(variable))
    found = {name: redact(text)[:_MAX_CHARS] for name in _KNOWN if (text := environment.get(name))}
    return {"kind": "+".join(kinds), **found} if kinds else {}
