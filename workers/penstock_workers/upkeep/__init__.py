"""What is done from time to time: gauges, deletions, moves, repairs."""
