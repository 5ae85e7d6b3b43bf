#!/usr/bin/env python3
"""Measure how much the layers of trained networks respond, and draw it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # works from a checkout, too

from gluon_resnet.cli.command import run_command

if __name__ == "__main__":
    run_command("responses")
