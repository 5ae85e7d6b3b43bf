"""Gradients combined over devices and workers, and the workers of a run."""
