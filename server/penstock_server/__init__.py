"""The server: the command that runs every process, and the application that serves every route."""
