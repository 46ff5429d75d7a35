"""Runs for wandb clients: creating, changing, resuming and reading them."""
