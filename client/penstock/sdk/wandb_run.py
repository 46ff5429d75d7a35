"""The class of runs, where W&B has it."""

from penstock.runs.run import Run

__all__ = ["Run"]
