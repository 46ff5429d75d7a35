"""`penstock plan`: what an installation needs for a load, worked out from what was measured."""
