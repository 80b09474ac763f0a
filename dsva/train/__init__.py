"""Training: batches, engine, loop, schedule, checkpoints, stopping, metrics."""
