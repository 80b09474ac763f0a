"""Measurements, each a program of its own: `python -m benchmarks.NAME`. RESULTS.md tells what they found."""
