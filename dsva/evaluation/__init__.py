"""From decisions to figures: metrics, results, tables, plots, confidence, baselines."""
