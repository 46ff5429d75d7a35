"""Hyperparameter sweeps: which trial is next, which is stopped early, and which agent runs it."""
