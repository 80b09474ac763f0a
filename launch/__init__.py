"""Where it runs: command line and processes. Imports `dsva` and `shards`."""
