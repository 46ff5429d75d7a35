"""Runs of this process: from init to finish."""
