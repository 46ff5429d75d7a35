"""Tiers of what came late or in small pieces are built again."""
