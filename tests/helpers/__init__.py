"""What several tests share: data, runs and processes; and programs that tests start."""
