"""What people look at: one HTML page of a run, and pictures of what the model attended to."""
