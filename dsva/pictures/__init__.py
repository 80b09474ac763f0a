"""Pictures of matplotlib, and names of people in them."""
