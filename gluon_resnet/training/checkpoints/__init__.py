"""Parameters and states of a run on the disk."""
