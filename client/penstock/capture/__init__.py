"""What a process prints and where it runs, recorded by a process beside it.

The training process only puts pipes in the place of its output (`streams`) and talks to the process beside it
(`beside`). That one reads the pipes, passes everything on and records lines, facts and files in a spool of
its own (`reader`, `recorded`).
"""
