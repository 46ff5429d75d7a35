"""Sweeps: creating them, and the agents that run their trials."""
