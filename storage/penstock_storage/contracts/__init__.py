"""What storage is asked for: protocols of catalog and point store, and the types of their rows."""
