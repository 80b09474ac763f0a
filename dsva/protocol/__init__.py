"""What is decided and checked before the first step: tables, class splits, image sets, leaks, the experiment."""
