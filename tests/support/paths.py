"""Where the repository stands."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
