"""A run's fields."""

from __future__ import annotations

from typing import Any

from penstock_common.http.payloads import mapping_of, text_of
from penstock_compat.wandb.artifacts.queries import ArtifactsOfRunNode
from penstock_compat.wandb.console import ConsoleOfRun
from penstock_compat.wandb.files import FilesOfRun
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.configs import wrapped_config
from penstock_compat.wandb.runs.history import HistoryOfRun
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.runs.resume import LinesOfRun
from penstock_compat.wandb.runs.summaries import SummaryOfRun
from penstock_compat.wandb.values import json_text, timestamp
from penstock_compat.wandb.viewer import User
from penstock_storage.contracts.interface import RunRow

__all__ = ["RunNode"]


class RunFields(Node):
    """A run's fields from the catalog."""

    context: RequestContext
    row: RunRow

    @field
    def id(self) -> str:
        return encode_id("Run", self.row.number)

    @field
    def name(self) -> str:
        return self.row.run

    @field
    def display_name(self) -> str:
        return self.row.name

    @field
    def description(self) -> str:
        return self.row.notes

    @field
    def notes(self) -> str:
        return self.row.notes

    @field
    def tags(self) -> list[str]:
        return list(self.row.tags)

    @field
    def group(self) -> str | None:
        return self.row.group or None

    @field
    def job_type(self) -> str | None:
        return self.row.job_type or None

    @field
    def commit(self) -> str | None:
        return text_of(self.row.info.get("commit")) or None

    @field
    def host(self) -> str | None:
        return text_of(self.row.info.get("host")) or None

    @field
    def state(self) -> str:
        return self.row.state

    @field
    def sweep_name(self) -> str | None:
        return text_of(self.row.info.get("sweep")) or None

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def heartbeat_at(self) -> str:
        return timestamp(self.row.updated_at)

    @field
    def updated_at(self) -> str:
        return timestamp(self.row.updated_at)

    @field
    def read_only(self) -> bool:
        return not self.context.principal.may_write(self.row.entity)

    @field
    def user(self) -> User:
        return User(self.row.entity)

    @field
    def project_id(self) -> int:
        return self.row.project_number

    @field
    def project(self) -> dict[str, Any]:
        row = self.row
        return {
            "__typename": "Project",
            "id": encode_id("Project", row.project_number),
            "internalId": encode_id("ProjectInternalId", row.project_number),
            "name": row.project,
            "entityName": row.entity,
            "entity": {
                "__typename": "Entity",
                "id": encode_id("Entity", row.entity),
                "name": row.entity,
            },
        }

    @field
    def config(self) -> str:
        return json_text(wrapped_config(self.row))

    @field
    def wandb_config(self, keys: list[str] | None = None) -> str:
        kept = mapping_of(wrapped_config(self.row).get("_wandb", {}).get("value"))
        return json_text({key: kept[key] for key in keys or kept if key in kept})


class RunNode(
    RunFields, LinesOfRun, SummaryOfRun, HistoryOfRun, FilesOfRun, ConsoleOfRun, ArtifactsOfRunNode
):
    """A run, composed of one class per capability. `page`: the runs of the same answer."""

    typename = "Run"

    def __init__(self, context: RequestContext, row: RunRow, page: RunPage | None = None) -> None:
        self.context = context
        self.row = row
        self.page = page or RunPage(context, [row])
