"""How certain the difference of two errors is, in words."""

from __future__ import annotations

from typing import Optional

from gluon_resnet.evaluation.intervals import PairedDifference

_Ends = tuple[float, float]  # of a 95 % interval, in percentage points


def certainty(
    paired: Optional[PairedDifference], independent: Optional[_Ends], first: str, second: str
) -> str:
    """The error of the network `first` minus that of `second`: by pairs of images if these are known."""
    if paired is None:
        return shown(independent)
    apart = f"; {_span(independent)} if the tests were independent" if independent else ""
    p_value = f"= {paired.p_value:.4f}" if paired.p_value >= 0.0001 else "< 0.0001"
    return (
        f"paired {shown(paired.interval)}{apart}; {paired.only_first:,} images are wrong only in {first} and "
        f"{paired.only_second:,} only in {second}: McNemar's exact p {p_value}"
    )


def shown(ends: Optional[_Ends]) -> str:
    """The interval, and whether it shows a difference at all."""
    if ends is None:
        return "no interval is known"
    nothing = "; it includes 0: no difference is shown" if ends[0] <= 0 <= ends[1] else ""
    return f"95 % interval of the difference: {_span(ends)}{nothing}"


def methods(paired: bool, independent: bool) -> str:
    """The sources of such intervals, paired and others; begins with a colon if there are any."""
    newcombe = "Newcombe 1998, Statistics in Medicine 17"
    used = []
    if paired:
        used.append(f"paired ones go image by image ({newcombe}, 2635-2650, method 10)")
    if independent:
        used.append(
            "those that are not paired take the two tests as independent, though both are on the same images "
            f"({newcombe}, 873-890, method 10)"
        )
    return f": {'; '.join(used)}" if used else ""


def _span(ends: _Ends) -> str:
    return f"{ends[0]:+.2f} to {ends[1]:+.2f}"
