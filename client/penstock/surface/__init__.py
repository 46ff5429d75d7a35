"""W&B's public names: what each is in Penstock, and what using one that is missing does."""
