"""Packing and verifying shard sets, here or, where they are big, as job arrays on a cluster."""
