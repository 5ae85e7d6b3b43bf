"""A run: a training and the files around it, as train.py makes them, callable from Python.

    from gluon_resnet.runs import Settings, train
    train(Settings(network="resnet20", recipe="cifar10", data_train=["train.rec"], data_val=["test.rec"]))

Importing this package, Settings, and gluon_resnet.runs.files does not need MXNet.
"""

from typing import TYPE_CHECKING, Any

from gluon_resnet.runs.settings import Settings

if TYPE_CHECKING:
    from gluon_resnet.runs.run import Outcome, train
    from gluon_resnet.runs.timing import benchmark

__all__ = ["Outcome", "Settings", "benchmark", "train"]


def __getattr__(name: str) -> Any:
    if name == "benchmark":
        from gluon_resnet.runs.timing import benchmark

        return benchmark
    if name in ("Outcome", "train"):
        from gluon_resnet.runs import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
