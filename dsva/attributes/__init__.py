"""Attribute tables made by a CLIP model instead of by people, and looking at tables."""
