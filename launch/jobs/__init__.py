"""A run as a job: its folder, who holds its lease, who its processes are, processes on this machine."""
