"""From a configuration to a job that is checked, written down and started, here or on a cluster."""
