"""The embedded queue's append-only file: reading, checking and repairing it."""
