"""A run: what a training reads and writes around the loop of `training`, as train.py does it."""
