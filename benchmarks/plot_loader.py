#!/usr/bin/env python3
"""The measurements of benchmarks/loader.py as bars: results/loader/{train,eval,cifar}.json become loader.png.

python benchmarks/plot_loader.py results/loader
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from loader import ratio
from loader_peers import OURS, PEERS

TITLES = {"train": "training, 224", "eval": "evaluation, 224", "cifar": "CIFAR, 32"}
REFERENCE = "libjpeg-turbo, full decode only"
# Okabe and Ito's colors, which the color-blind tell apart.
OWN, VARIANT, PEER, LINE = "#0072B2", "#56B4E9", "#B0B0B0", "#E69F00"


def color(name: str) -> str:
    if name == OURS:
        return OWN
    return VARIANT if name.startswith(OURS) else LINE if name == REFERENCE else PEER


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path, help="of the JSON files, and of the picture")
    folder = parser.parse_args().folder
    works = {}
    for work in TITLES:
        measured = json.loads((folder / f"{work}.json").read_text())
        threads = measured["arguments"]["threads"][-1]
        rates = measured["images_per_second"]
        works[work] = {name: rate[str(threads)] for name, rate in rates.items()}
    names = [name for name in PEERS if any(name in rates for rates in works.values())]

    figure, axes = plt.subplots(1, len(works), figsize=(11, 0.34 * len(names) + 1.1), sharey=True)
    for panel, (work, rates) in zip(axes, works.items()):
        # A cache would leave the others no room: its bar is cut.
        longest = 1.1 * max(statistics.median(rates[name]) for name in rates if "cache" not in name)
        for row, name in enumerate(names):
            if name not in rates:
                continue
            rate = statistics.median(rates[name])
            length = min(rate, longest)
            panel.barh(row, length, color=color(name), height=0.72)
            times = ""
            if not name.startswith(OURS):
                times = f"  ({ratio(rates[OURS], rates[name]):.2f} \N{MULTIPLICATION SIGN})"
            arrow = " \N{RIGHTWARDS ARROW}" if length < rate else ""
            panel.text(length, row, f"{arrow} {rate:,.0f}{times}", va="center", fontsize=9)
        panel.set_title(TITLES[work], fontsize=11)
        panel.set_xlim(0, 1.75 * longest)  # room for the labels
        panel.set_yticks(range(len(names)), names, fontsize=10)
        panel.set_xticks([])
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(left=False)
    axes[0].invert_yaxis()
    figure.supxlabel(
        f"images per second at {threads} threads, and how many times as fast gluon-resnet is", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(folder / "loader.png", dpi=150, facecolor="white")


if __name__ == "__main__":
    main()
