"""Pictures of matplotlib, and the names that users give in them."""
