"""Benchmarks: `python -m benchmarks` prints the table of docs/performance.md, measured on this machine."""
