"""From decisions to figures: metrics, gamma, results, tables, plots, confidence, baselines."""
