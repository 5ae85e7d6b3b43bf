"""Starts the processes of a run on one machine or several, watches them, and ends all when one has failed."""
