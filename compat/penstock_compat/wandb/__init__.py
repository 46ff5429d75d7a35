"""The server API of the official `wandb` client, on Penstock's own stores.

Nothing outside this package depends on it; docs/wandb.md says what works.
"""
