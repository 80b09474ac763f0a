"""The zero-shot protocol: class splits, attribute tables, scores, evaluation, reports."""
