"""What `penstock.Api()` returns, where W&B has it."""

from penstock.reading.api import Api, Project, Runs
from penstock.reading.api import ApiRun as Run
from penstock.reading.api import ApiSweep as Sweep

__all__ = ["Api", "Project", "Run", "Runs", "Sweep"]
