"""System metrics: one sampler process per node and user measures the machine for all runs that live on it.

wish        what a run wants, and which sampler serves it
launch      starts the sampler from a training process, and rings its bell
__main__    the sampler's process: one per root, container, and job
sampler     the loop: finds live runs, measures, writes a row to each that is due
membership  which live writers belong to which run
lane        the rows of one run's node, in a spool of its own
rows        what of a measurement goes into a run's row
node        CPU, memory, disks and network of the machine, from /proc and /sys
portable    the same from psutil, where there is no /proc
cgroups     limits and counters of a process's control group, versions 1 and 2
processes   CPU, memory, threads, files and I/O of process trees
gpus        asks a child process about the GPUs: a driver call may hang or crash
gpu_child   that child
nvml, amd   what it asks: NVIDIA's library, the files of AMD's driver
"""
