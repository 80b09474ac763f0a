"""Training: the loop, one process's side of it, engines, optimizer, schedule, saving, signals, bad steps, the watchdog."""
