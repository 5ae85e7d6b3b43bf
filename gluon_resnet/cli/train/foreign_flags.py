"""A table of the flags of MXNet's and GluonCV's training scripts, and what each becomes for tools/train.py.

docs/coming_from_mxnet.md shows it, and a test compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.training.recipes import get_recipe, recipe_names

Given = Mapping[str, str]  # the last value of each flag on the command line, '' if it has none


@dataclass(frozen=True)
class Flag:
    """A flag of another script.

    Attributes:
        name: its name there.
        option: our option in its place; None if there is none.
        why: a sentence on what there is instead, or on what is different.
        same: the values that ask for what happens here anyway, and are therefore accepted.
        change: a function from the value, and what else was given, to our arguments; UsageError if there are none.
        takes_value: whether a value follows it.
        left_out: whether any value is accepted and ignored, for the reason given by `why`.
    """

    name: str
    option: Optional[str] = None
    why: str = ""
    same: tuple[str, ...] = ()
    change: Optional[Callable[[str, Given], list[str]]] = None
    takes_value: bool = True
    left_out: bool = False


def _own(*names: str) -> tuple[Flag, ...]:
    """Flags with the same meaning here."""
    return tuple(Flag(name, name) for name in names)


def _gpus(value: str, given: Given) -> list[str]:
    if not (value.isascii() and value.isdigit() and len(value) < 4):
        raise UsageError(f"--num-gpus: expected a number, found {value}")
    ids = ",".join(map(str, range(int(value))))
    batch = given.get("--batch-size", "")
    if int(value) > 1 and batch.isascii() and batch.isdigit():
        whole = int(batch) * int(value)
        raise UsageError(
            f"--num-gpus {value}: GluonCV's --batch-size is for each GPU and ours for all: write --gpus {ids} "
            f"--batch-size {whole} for its {batch}"
        )
    return ["--gpus", ids] if ids else []


def _periodic_steps(value: str, given: Given) -> list[str]:
    epochs = given.get("--num-epochs", "")
    if not (value.isascii() and value.isdigit() and epochs.isascii() and epochs.isdigit()):
        raise UsageError(
            f"--lr-decay-period {value}: write --lr-step-epochs {value},... with the epochs of the steps"
        )
    steps = range(int(value), min(int(epochs), 10_000), int(value))
    return ["--lr-step-epochs", ",".join(map(str, steps))] if steps else []


def _square(value: str, _: Given) -> list[str]:
    return ["--image-shape", f"3,{value},{value}"]


def _in_folder(value: str, given: Given) -> list[str]:
    network = given.get("--network") or given.get("--model") or "model"
    return ["--model-prefix", os.path.join(value, network)]


def _pretrained(_: str, __: Given) -> list[str]:
    return ["--pretrained", "imagenet"]


def _benchmark(value: str, _: Given) -> list[str]:
    return [] if value == "0" else ["--benchmark"]


def _network(value: str, _: Given) -> list[str]:
    return ["--network", "resnet" if value == "resnet-v1" else value]


def _beside(*records: str) -> Callable[[str, Given], list[str]]:
    """For an index, which must be the one beside the records of one of these flags."""

    def change(value: str, given: Given) -> list[str]:
        path = next((given[name] for name in records if given.get(name)), "")
        expected = os.path.splitext(path)[0] + ".idx"
        if value and os.path.normpath(value) != os.path.normpath(expected):
            raise UsageError(f"the index {value} is not read: that of NAME.rec is NAME.idx beside it")
        return []

    return change


def _padding(value: str, given: Given) -> list[str]:
    name = given.get("--recipe") or "imagenet"
    own = get_recipe(name).padding if name in recipe_names() else 0
    if value != str(own):
        raise UsageError(f"--pad-size {value}: {_PADDING} (--recipe {name}: {own})")
    return []


_PADDING = "the padding is the recipe's: 4 pixels of --recipe cifar10, none for ImageNet"
_INDEX = "that of NAME.rec is NAME.idx beside it; any other is refused"
_COUNTED = "the records say how many they are"
_COLOR = "--recipe modern has random brightness, contrast and saturation"
_NO_DISTILLATION = "there is no distillation"
_RESUME = "--resume goes on from the newest state of --model-prefix"
_NO_COMPRESSION = "gradients are not compressed"
_NO_PROFILE = "there is no profile; --benchmark times a step"
_SCALE = "--recipe imagenet draws the shorter side from 256 to 480 pixels"
_NO_DALI = "DALI is not used: --data-nthreads threads of our own loader decode"
_LAYOUT = "images and layers are NCHW, and oneDNN and cuDNN choose layouts of their own"

FIT = (  # example/image-classification/common/fit.py
    Flag(
        "--network",
        "--network",
        "MXNet's resnet is pre-activated: --variant v2; its resnet-v1 is ours",
        change=_network,
    ),
    *_own("--num-layers", "--gpus", "--kv-store", "--num-epochs", "--lr", "--lr-factor", "--lr-step-epochs"),
    Flag("--initializer", None, "networks begin with He's initialization", ("default",)),
    Flag("--optimizer", None, "the optimizer is SGD with momentum, --mom", ("sgd",)),
    *_own("--mom", "--wd"),
    Flag("--batch-size", "--batch-size", "of all devices of a process, as there"),
    *_own("--disp-batches", "--model-prefix", "--save-period"),
    Flag("--monitor", None, "--detect-anomaly looks at every number of every step", ("0",)),
    *_own("--load-epoch"),
    Flag("--top-k", "--top-k", "from 1"),
    Flag("--loss", None, "the loss is cross-entropy, and always shown", ("", "ce")),
    Flag("--test-io", None, "the loader's own speed is printed after each epoch", ("0",)),
    *_own("--dtype"),
    Flag("--gc-type", None, _NO_COMPRESSION, ("none",)),
    Flag("--gc-threshold", None, _NO_COMPRESSION, ("0.5",)),
    Flag("--macrobatch-size", None, "--batch-size is what an update is made of", ("0",)),
    *_own("--warmup-epochs"),
    Flag("--warmup-strategy", None, "a warm-up is linear, or lasts until --warmup-error", ("linear",)),
    Flag("--profile-worker-suffix", None, _NO_PROFILE, ("",)),
    Flag("--profile-server-suffix", None, _NO_PROFILE, ("",)),
    Flag(
        "--use-imagenet-data-augmentation",
        None,
        "the crops and colors are the recipe's: --recipe modern has those of ImageNet today",
        ("0",),
    ),
)

DATA = (  # example/image-classification/common/data.py
    *_own("--data-train"),
    Flag("--data-train-idx", None, _INDEX, change=_beside("--data-train", "--rec-train")),
    *_own("--data-val"),
    Flag("--data-val-idx", None, _INDEX, change=_beside("--data-val", "--rec-val")),
    *_own("--rgb-mean"),
    Flag("--pad-size", None, _PADDING, change=_padding),
    *_own("--image-shape", "--num-classes"),
    Flag("--num-examples", None, _COUNTED, left_out=True),
    *_own("--data-nthreads"),
    Flag("--benchmark", "--benchmark", "without the 1", change=_benchmark),
    Flag("--use-python-iter", None, "our loader is C++", ("0",)),
    Flag("--use-gpu-augmenter", None, "images are augmented on the CPU", ("0",)),
    Flag("--random-crop", None, "training crops are random", ("1",)),
    *_own("--random-mirror"),
    Flag("--max-random-h", None, f"there is no change of hue; {_COLOR}", ("0",)),
    Flag("--max-random-s", None, _COLOR, ("0",)),
    Flag("--max-random-l", None, _COLOR, ("0",)),
    Flag(
        "--max-random-aspect-ratio", None, "--recipe modern has aspect ratios from 3/4 to 4/3", ("0", "0.0")
    ),
    Flag("--max-random-rotate-angle", None, "images are not rotated", ("0",)),
    Flag("--max-random-shear-ratio", None, "images are not sheared", ("0", "0.0")),
    Flag("--max-random-scale", None, _SCALE, ("1", "1.0")),
    Flag("--min-random-scale", None, _SCALE, ("1", "1.0")),
)

GLUONCV = (  # scripts/classification/imagenet/train_imagenet.py, and the flags of dali.py beside it
    Flag("--data-backend", None, _NO_DALI, ("mxnet",)),
    Flag(
        "--data-dir",
        None,
        "pictures are packed by tools/im2rec.py first, and given as --data-train and --data-val",
    ),
    Flag("--rec-train", "--data-train"),
    Flag("--rec-train-idx", None, _INDEX, change=_beside("--rec-train", "--data-train")),
    Flag("--rec-val", "--data-val"),
    Flag("--rec-val-idx", None, _INDEX, change=_beside("--rec-val", "--data-val")),
    Flag("--use-rec", None, "records are always read", takes_value=False, left_out=True),
    Flag("--batch-size", "--batch-size", "of all devices of a process, and there of each"),
    *_own("--dtype"),
    Flag("--num-gpus", "--gpus", "which ones: 0,1 for 2", change=_gpus),
    Flag("-j", "--data-nthreads"),
    Flag("--num-data-workers", "--data-nthreads"),
    *_own("--num-epochs", "--lr"),
    Flag("--momentum", "--mom"),
    *_own("--wd"),
    Flag("--lr-mode", "--lr-mode", "step, cosine or plateau; there is no poly"),
    Flag("--lr-decay", "--lr-factor"),
    Flag(
        "--lr-decay-period",
        "--lr-step-epochs",
        "each multiple of it below --num-epochs",
        ("0",),
        _periodic_steps,
    ),
    Flag("--lr-decay-epoch", "--lr-step-epochs"),
    *_own("--warmup-lr", "--warmup-epochs", "--last-gamma"),
    Flag("--mode", None, "networks are always hybridized", ("hybrid",)),
    Flag("--model", "--network", "there are no variants c, d and s", change=_network),
    Flag("--input-size", "--image-shape", "written 3,N,N", change=_square),
    Flag("--crop-ratio", None, "the shorter side before evaluation's crop is 8/7 of its size", ("0.875",)),
    Flag(
        "--use-pretrained",
        "--pretrained",
        "with imagenet behind it: torchvision's weights, under a new head",
        change=_pretrained,
        takes_value=False,
    ),
    Flag("--use_se", None, "there are no SE layers", takes_value=False),
    *_own("--mixup", "--mixup-alpha"),
    Flag("--mixup-off-epoch", None, "mixup lasts to the end", ("0",)),
    *_own("--label-smoothing", "--no-wd"),
    Flag("--teacher", None, _NO_DISTILLATION),
    Flag("--temperature", None, _NO_DISTILLATION),
    Flag("--hard-weight", None, _NO_DISTILLATION),
    Flag("--batch-norm", None, "it is in the network's name: --network vgg16_bn", takes_value=False),
    Flag("--save-frequency", "--save-period"),
    Flag("--save-dir", "--model-prefix", "with the network's name behind the folder", change=_in_folder),
    Flag("--resume-epoch", None, _RESUME, ("0",)),
    Flag("--resume-params", None, f"{_RESUME}; --pretrained begins with other weights", ("",)),
    Flag("--resume-states", None, _RESUME, ("",)),
    Flag("--log-interval", "--disp-batches"),
    Flag("--logging-file", None, "the log is PREFIX-log.jsonl, of --model-prefix PREFIX"),
    Flag("--use-gn", None, "there is no group normalization", takes_value=False),
    *_own("--rgb-mean", "--rgb-std"),
    Flag("--num-training-samples", None, _COUNTED, left_out=True),
    Flag("--dali-separ-val", None, _NO_DALI, takes_value=False),
    *(
        Flag(f"--dali-{name}", None, _NO_DALI)
        for name in (
            "threads",
            "validation-threads",
            "prefetch-queue",
            "nvjpeg-memory-padding",
            "fuse-decoder",
        )
    ),
    Flag("--flag", None, _NO_DALI),
    Flag("--data-pred", None, "tools/predict.py names what pictures show"),
    *_own("--image-shape"),
    *(
        Flag(f"--{name}-layout", None, _LAYOUT, ("NCHW",))
        for name in ("input", "conv", "batchnorm", "pooling")
    ),
    Flag("--num-examples", None, _COUNTED, left_out=True),
    Flag("--data-val-resize", None, "the shorter side before evaluation's crop is 8/7 of its size", ("256",)),
    *_own("--kv-store"),
)

# The flags that our own parser does not accept unchanged.
FOREIGN = {
    flag.name: flag for flag in (*FIT, *DATA, *GLUONCV) if flag.option != flag.name or flag.change is not None
}
