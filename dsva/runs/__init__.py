"""Run directories: who may enter one, what it records, and its checkpoints."""
