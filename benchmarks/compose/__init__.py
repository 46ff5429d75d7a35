"""Runs a compose file without containers: every service is a plain process with a network, a file system
and a user of its own, made of what this machine has.

Names, addresses, ports, networks, volumes, users, read-only roots, commands, variables and health
checks are those of the file, as `docker compose config` reads it. Not imitated: memory and CPU limits,
restarts, and the images themselves (`software.py` says what stands in for each).
"""
