"""A run's parameters and states on disk."""
