"""Starts the processes of a run on one or several machines, watches them, and ends them all when one has failed."""
