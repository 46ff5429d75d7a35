"""What the official `wandb` client asks of a server, answered over Penstock's own stores.

Nothing outside this package knows of it; docs/wandb.md says what works.
"""
