"""Combines gradients over devices and workers, and manages the workers of a run."""
