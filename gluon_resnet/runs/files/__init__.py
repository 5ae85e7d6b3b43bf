"""The files of a run, which are written and read without MXNet."""
