#!/usr/bin/env python3
"""Pack pictures into RecordIO files, and check such files."""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's would spin on the cores that pack
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # works from a checkout, too

from gluon_resnet.cli.command import run_command

if __name__ == "__main__":
    run_command("im2rec")
