"""Assigns numbers to names, and finds rows by their names."""
