"""Progress within an epoch: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from typing import Callable, TypeVar

from tqdm import tqdm

from gluon_resnet.terminal import tell

Item = TypeVar("Item")


class Progress:
    """Shows the progress of loops on standard error. Without a terminal, a line follows every `every` steps; 0: none.

    If the loop may end early, close what `follow` returns (contextlib.closing), or else a bar gets in the way
    of subsequent output.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._bar = sys.stderr.isatty()

    def follow(
        self,
        items: Iterable[Item],
        title: str,
        total: int,
        done: int = 0,
        status: Callable[[], str] = lambda: "",
    ) -> Generator[Item, None, None]:
        """Yield from `items`, showing how many of `total` are done (`done` of them before) and `status()`."""
        if self._bar:
            with tqdm(
                total=total, initial=done, desc=title, leave=False, dynamic_ncols=True, unit="batch"
            ) as bar:
                for item in items:
                    yield item
                    bar.set_postfix_str(status(), refresh=False)
                    bar.update()
            return
        for number, item in enumerate(items, done + 1):
            yield item
            if self._every and number % self._every == 0:
                tell(f"{title}  {number}/{total}  {status()}")
