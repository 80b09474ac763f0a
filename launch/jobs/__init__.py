"""A run as a job: its folder, who holds its lease, where its processes meet, processes on this machine."""
