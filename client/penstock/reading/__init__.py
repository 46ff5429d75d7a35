"""Reading what was stored, and changing it, over HTTP."""
