"""The processes of a run: what the environment says of them, how they join, what they agree on."""
