"""Settings of a training: the options of train.py as one frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Optional, Union

from gluon_resnet.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What a training is asked to do; each field is the option of train.py with the same name.

    None means that the recipe, the pretrained network or the records decide. Paths are relative to the current folder.
    Sequences become tuples. ``train.py --help`` explains the fields that have no comment.

    Raises:
        UsageError: a field has a value that no option could give it, such as a single string for the data files.
    """

    # network
    network: Optional[str] = None  # may end with its variant, as in 'resnet50_v1b'
    shortcut: Optional[str] = None
    variant: Optional[str] = None
    pretrained: Optional[str] = None  # PREFIX, PREFIX:EPOCH, PREFIX:best, or 'imagenet'
    freeze: bool = False
    num_classes: Optional[int] = None

    # data
    data_train: tuple[str, ...] = ()  # paths of .rec files
    data_val: tuple[str, ...] = ()
    holdout: Optional[int] = None  # records
    data_nthreads: Optional[int] = None
    image_shape: Optional[int] = None  # the side N of 3,N,N in pixels
    random_mirror: Optional[int] = None  # 0 or 1, as for every switch that recipes set
    rgb_mean: Optional[tuple[float, float, float]] = None  # on the scale of pixels from 0 to 255
    mean_image: Optional[str] = None  # the path of an .npz file
    rgb_std: Optional[tuple[float, float, float]] = None

    # training
    recipe: str = "imagenet"
    num_epochs: Optional[int] = None
    num_iterations: Optional[int] = None
    batch_size: Optional[int] = None
    lr: Optional[float] = None
    lr_mode: Optional[str] = None
    lr_factor: Optional[float] = None
    lr_step_epochs: Optional[tuple[float, ...]] = None
    lr_patience: Optional[int] = None  # epochs
    lr_threshold: Optional[float] = None
    min_lr: Optional[float] = None
    warmup_epochs: Optional[float] = None
    warmup_lr: Optional[float] = None
    warmup_error: Optional[float] = None  # percent
    wd: Optional[float] = None
    no_wd: Optional[int] = None
    mom: Optional[float] = None
    label_smoothing: Optional[float] = None
    mixup: Optional[int] = None
    mixup_alpha: Optional[float] = None
    last_gamma: Optional[int] = None
    top_k: int = 5
    dtype: str = "float32"
    recompute: bool = False
    recompute_statistics: int = 0  # batches of each worker; 0: keep running averages
    seed: int = 0

    # devices
    gpus: Optional[tuple[int, ...]] = None  # None: the CPU
    cpus: int = 1
    kv_store: str = "device"

    # files
    model_prefix: Optional[str] = None  # None: runs/NETWORK
    save_period: Optional[int] = None  # epochs
    save_every: int = 0  # batches; 0: save states only after epochs
    keep: int = 2
    load_epoch: Optional[int] = None
    resume: bool = False
    disp_batches: int = 20

    # watching
    detect_anomaly: bool = False
    stall_timeout: float = 60.0  # seconds; 0: never

    def __post_init__(self) -> None:
        for name in _SEQUENCES:
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(
                    f"{name}: expected a sequence, found the string {value!r}: write [{value!r}]"
                )
            if value is not None:
                object.__setattr__(self, name, tuple(value))

    def arguments(self) -> list[str]:
        """The options of train.py that ask for the same: those whose value is not the default."""
        result: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                result += [f"--{field.name.replace('_', '-')}", *_words(field.name, value)]
        return result


_SEQUENCES = ("data_train", "data_val", "rgb_mean", "rgb_std", "lr_step_epochs", "gpus")


def _words(name: str, value: Union[bool, str, float, Sequence[Any]]) -> list[str]:
    """The words that follow an option on a command line."""
    if value is True:
        return []
    if name == "image_shape":
        return [f"3,{value},{value}"]
    if name in ("data_train", "data_val"):
        assert isinstance(value, tuple)
        return list(value)
    return [",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
