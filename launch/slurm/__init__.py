"""Slurm: the one client of its commands, batch scripts, arrays, requeueing."""
