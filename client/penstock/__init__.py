"""Penstock: self-hosted experiment tracking. Log as you log to wandb; nothing is lost."""

__version__ = "0.1.0"
