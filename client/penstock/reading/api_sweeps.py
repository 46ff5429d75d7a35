"""A sweep as `penstock.Api().sweep(…)` returns it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.errors import NotSupported
from penstock.kernel import page_frame

if TYPE_CHECKING:
    from penstock.reading.api import Api
    from penstock.reading.api_runs import ApiRun, Runs

__all__ = ["ApiSweep"]


class ApiSweep:
    """A sweep, as of when it was read."""

    def __init__(self, api: Api, fields: Mapping[str, Any]) -> None:
        self._api = api
        self._fields = fields

    def load(self, force: bool = True) -> ApiSweep:
        """Read it again."""
        self._fields = self._api.get("sweeps", *self.path)
        return self

    @property
    def id(self) -> str:
        return str(self._fields["sweep"])

    @property
    def name(self) -> str:
        """Its name, or its id if it has none."""
        return str(self._fields["name"] or self.id)

    @property
    def entity(self) -> str:
        return str(self._fields["entity"])

    username = entity

    @property
    def project(self) -> str:
        return str(self._fields["project"])

    @property
    def path(self) -> list[str]:
        """[entity, project, id]"""
        return [self.entity, self.project, self.id]

    @property
    def state(self) -> str:
        """PENDING, RUNNING, PAUSED, FINISHED or CANCELED"""
        return str(self._fields["state"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration. Raises NotSupported if that is YAML and PyYAML is not installed."""
        text = str(self._fields["config"])
        try:
            found = json.loads(text)
        except ValueError:
            try:
                import yaml  # noqa: PLC0415  (only those who write YAML need it)
            except ImportError:
                raise NotSupported("sweep.config needs PyYAML: pip install pyyaml") from None
            found = yaml.safe_load(text)
        return dict(found)

    @property
    def order(self) -> str | None:
        """Its metric as an order of runs, the best first."""
        metric = self._fields["metric"]
        if not metric:
            return None
        return f"{'-' if self._fields['goal'] == 'maximize' else '+'}summary_metrics.{metric}"

    @property
    def expected_run_count(self) -> int | None:
        """How many trials it has at most; None: no limit."""
        found = self._fields["run_cap"]
        return None if found is None else int(found)

    @property
    def runs(self) -> Runs:
        """Its trials, newest first."""
        return self._runs("-created_at")

    def best_run(self, order: str | None = None) -> ApiRun | None:
        """The best trial by its metric, or the first one in this order; None if there is none yet."""
        order = order or self.order
        if order is None:
            return None
        return next(iter(self._runs(order)), None)

    @property
    def url(self) -> str:
        """The page of the sweep."""
        names = (self.entity, self.project, "sweeps", self.id)
        path = "/".join(quote(name, safe="") for name in names)
        return f"{self._api.settings.base_url}/{path}"

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """The sweep's page as HTML for a notebook."""
        return page_frame(self.url, height, is_hidden=hidden)

    def _runs(self, order: str) -> Runs:
        return self._api.runs(f"{self.entity}/{self.project}", {"sweep": self.id}, order)

    def __repr__(self) -> str:
        return f"<Sweep {'/'.join(self.path)} ({self.state})>"
