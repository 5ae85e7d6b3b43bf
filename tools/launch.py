#!/usr/bin/env python3
"""Run a command as the workers of a parameter server."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # works from a checkout, too

from gluon_resnet.cli.command import run
from gluon_resnet.cli.launch import main

if __name__ == "__main__":
    run(main)
