"""Scenes that the project draws itself, for the demonstration and the tests."""
