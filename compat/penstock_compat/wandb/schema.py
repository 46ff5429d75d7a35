"""The root query and mutation types, composed of one class per capability."""

from __future__ import annotations

from penstock_compat.wandb.alerts import AlertMutations
from penstock_compat.wandb.artifacts.changes import ArtifactChanges
from penstock_compat.wandb.artifacts.queries import ArtifactQueries
from penstock_compat.wandb.artifacts.uploads import ArtifactUploads
from penstock_compat.wandb.charts import ChartMutations, ChartQueries
from penstock_compat.wandb.deletion import DeletionMutations
from penstock_compat.wandb.files import FilesMutations
from penstock_compat.wandb.projects import ProjectMutations, ProjectQueries
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import RunMutations
from penstock_compat.wandb.runs.rewind import RewindMutations
from penstock_compat.wandb.sweeps import SweepMutations
from penstock_compat.wandb.viewer import ViewerQueries

__all__ = ["Mutation", "Query"]


class Query(ViewerQueries, ProjectQueries, ChartQueries, ArtifactQueries):
    """The root of queries."""

    typename = "Query"

    def __init__(self, context: RequestContext) -> None:
        self.context = context


class Mutation(
    ProjectMutations,
    RunMutations,
    RewindMutations,
    FilesMutations,
    AlertMutations,
    ChartMutations,
    ArtifactUploads,
    ArtifactChanges,
    DeletionMutations,
    SweepMutations,
):
    """The root of mutations."""

    typename = "Mutation"

    def __init__(self, context: RequestContext) -> None:
        self.context = context
