"""Many runs as one object: a frozen list of cells, each with an identity, a state and a place in the table."""
