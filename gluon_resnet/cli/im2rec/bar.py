"""tools/im2rec.py: its progress."""

from __future__ import annotations

import sys
from typing import Optional


class Bar:
    """A bar with rate and remaining time on a terminal; nothing elsewhere."""

    def __init__(self, unit: str, total: Optional[int] = None) -> None:
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm  # its import takes as long as packing fifty pictures

            self._bar = tqdm(total=total, unit=f" {unit}", leave=False, dynamic_ncols=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: Optional[int] = None) -> None:
        if self._bar is not None:
            self._bar.total = total or self._bar.total
            self._bar.update(done - self._bar.n)
