"""Progress within an epoch: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from typing import Callable, TypeVar

from tqdm import tqdm

from gluon_resnet.terminal import tell

Item = TypeVar("Item")


class Progress:
    """Follows loops on standard error. `every`: without a terminal, a line after so many steps; 0: none.

    Close what `follow` returns (contextlib.closing) where the loop may end early, or a bar stays in the way
    of what is printed next.
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
        """Yield from `items`, showing how many of `total` are done (`done` were before) and `status()`."""
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
