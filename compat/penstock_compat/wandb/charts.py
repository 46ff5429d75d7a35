"""Chart presets: named Vega specifications for all of an entity's projects."""

from __future__ import annotations

from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import loads_map
from penstock_storage.catalog.runs.custom_charts import CustomCharts

__all__ = ["ChartMutations", "ChartQueries"]

_MAX_CHARS = 1_000_000
_MAX_NAME_CHARS = 200


class ChartQueries(Node):
    """The root field for reading presets."""

    context: RequestContext

    @field
    async def custom_chart(self, id: str) -> dict[str, Any] | None:
        """The preset with this id, `entity/name`."""
        entity, _, name = id.partition("/")
        if self.context.readable(entity) is None:
            return None
        chart = await CustomCharts(self.context.deps.catalog.database).find(entity, name)
        return None if chart is None else {"__typename": "CustomChart", "id": id, **chart}


class ChartMutations(Node):
    """The root field for creating presets."""

    context: RequestContext

    @field
    async def create_custom_chart(self, input: dict[str, Any]) -> dict[str, Any]:
        """Store a preset, replacing an earlier one with its name."""
        entity = self.context.entity(input.get("entity"))
        name, spec = input.get("name"), input.get("spec")
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_CHARS:
            raise Rejected("a chart needs a name", code=ErrorCode.BAD_CHART)
        if not isinstance(spec, str) or len(spec) > _MAX_CHARS:
            raise Rejected(
                f"spec must be JSON of at most {_MAX_CHARS} characters", code=ErrorCode.BAD_CHART
            )
        loads_map("spec", spec)
        chart = {
            "name": name,
            "displayName": str(input.get("displayName") or name),
            "type": str(input.get("type") or ""),
            "access": str(input.get("access") or "PRIVATE"),
            "spec": spec,
        }
        await CustomCharts(self.context.deps.catalog.database).keep(entity, name, chart)
        kept = {"__typename": "CustomChart", "id": f"{entity}/{name}", **chart}
        return {"__typename": "CreateCustomChartPayload", "chart": kept}
