"""Many runs for one answer: ablation, and choosing on validation classes."""
