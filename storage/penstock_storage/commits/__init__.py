"""What a worker asks the point store about before a commit, and the positions that it writes with one."""
