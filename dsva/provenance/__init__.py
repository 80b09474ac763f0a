"""Where figures come from: which code, which starts of a run."""
