"""The roof: one command that runs every part, and one application that serves every route."""
