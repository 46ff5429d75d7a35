"""The spool: rows and records of a run on disk, until the server has stored them."""
