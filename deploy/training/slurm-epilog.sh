#!/bin/bash
# An Epilog for slurmd, which runs it as root when a job has left a node: sends what the job left behind, as the job's
# user. Never as root, which must not read a folder that somebody else fills. It must not fail: that drains the node.
set -u

folder="${PENSTOCK_SPOOLS:-/var/tmp/penstock-}$SLURM_JOB_UID"
if [ -d "$folder" ] && [ ! -L "$folder" ]; then
  home="$(getent passwd "$SLURM_JOB_UID" | cut -d: -f6)"
  setpriv --reuid "$SLURM_JOB_UID" --regid "$SLURM_JOB_GID" --clear-groups \
    env HOME="${home:-/}" timeout 90 penstock sync --dir "$folder" --timeout 60 || true
fi
exit 0
