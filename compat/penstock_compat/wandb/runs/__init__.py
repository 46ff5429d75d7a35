"""Runs as wandb clients see them: made, changed, resumed, read."""
