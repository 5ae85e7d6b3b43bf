"""What He et al. 2015 (arXiv:1512.03385) print: Tables 1 to 6, and figures from their text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

PROTOCOLS = ("10-crop", "multi-scale", "ensemble", "cifar10")


@dataclass(frozen=True)
class Table1Row:
    """A row of Table 1."""

    layer: str  # as printed; "" for the last layers
    size: int  # rows and columns of the output
    cells: tuple[str, ...]  # one per depth of TABLE_1_DEPTHS; a unit is '[3x3, 64; 3x3, 64] x 2'


def _units(basic: str, bottleneck: str, repeats: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"[{basic if n < 2 else bottleneck}] x {r}" for n, r in enumerate(repeats))


def _everywhere(cell: str) -> tuple[str, ...]:
    return (cell,) * len(TABLE_1_DEPTHS)


# Table 1: "Architectures for ImageNet. Building blocks are shown in brackets (see also Fig. 5), with the numbers
# of blocks stacked. Downsampling is performed by conv3_1, conv4_1, and conv5_1 with a stride of 2."
TABLE_1_DEPTHS = (18, 34, 50, 101, 152)
TABLE_1 = (
    Table1Row("conv1", 112, _everywhere("7x7, 64, stride 2")),
    Table1Row("conv2_x", 56, _everywhere("3x3 max pool, stride 2")),
    Table1Row("conv2_x", 56, _units("3x3, 64; 3x3, 64", "1x1, 64; 3x3, 64; 1x1, 256", (2, 3, 3, 3, 3))),
    Table1Row("conv3_x", 28, _units("3x3, 128; 3x3, 128", "1x1, 128; 3x3, 128; 1x1, 512", (2, 4, 4, 4, 8))),
    Table1Row(
        "conv4_x", 14, _units("3x3, 256; 3x3, 256", "1x1, 256; 3x3, 256; 1x1, 1024", (2, 6, 6, 23, 36))
    ),
    Table1Row("conv5_x", 7, _units("3x3, 512; 3x3, 512", "1x1, 512; 3x3, 512; 1x1, 2048", (2, 3, 3, 3, 3))),
    Table1Row("", 1, _everywhere("average pool, 1000-d fc, softmax")),
)
TABLE_1_FLOPS = ("1.8", "3.6", "3.8", "7.6", "11.3")  # x 10^9, as printed
TABLE_1_STRIDED = ("conv3_1", "conv4_1", "conv5_1")  # where its caption says that sizes are halved

# §3.3: "3.6 billion FLOPs (multiply-adds), which is only 18% of VGG-19 (19.6 billion FLOPs)"; §4.1: "VGG-16/19
# nets (15.3/19.6 billion FLOPs)". VGG-16 has 15.5 by the same count.
FLOPS_IN_TEXT = {"plain34": "3.6", "vgg16": "15.3", "vgg19": "19.6"}


@dataclass(frozen=True)
class Result:
    """A row of Tables 2 to 6. Errors are in percent; None if not printed."""

    table: int
    method: str  # as printed, without reference numbers
    protocol: str  # one of PROTOCOLS
    images: str  # the images tested on
    top1_error: Optional[float]
    top5_error: Optional[float] = None
    network: Optional[str] = None  # as for get_model; None if not one of ours, or several
    shortcut: Optional[str] = None  # None if there is none, or for CIFAR-10 and rivals no choice
    layers: Optional[int] = None  # in Table 6 only, like the next two
    parameters: Optional[str] = None
    mean_std: Optional[tuple[float, float]] = None  # over 5 runs, the best of which has top1_error

    @property
    def citation(self) -> str:
        """The table in which it is printed."""
        return f"He et al. 2015, Table {self.table}"


def _validation(
    table: int,
    protocol: str,
    method: str,
    top1: Optional[float],
    top5: Optional[float],
    network: Optional[str] = None,
    shortcut: Optional[str] = None,
) -> Result:
    return Result(table, method, protocol, "ImageNet validation", top1, top5, network, shortcut)


# Table 2: "Top-1 error (%, 10-crop testing) on ImageNet validation. Here the ResNets have no extra parameter
# compared to their plain counterparts": option A.
TABLE_2 = (
    _validation(2, "10-crop", "plain, 18 layers", 27.94, None, "plain18"),
    _validation(2, "10-crop", "ResNet, 18 layers", 27.88, None, "resnet18", "A"),
    _validation(2, "10-crop", "plain, 34 layers", 28.54, None, "plain34"),
    _validation(2, "10-crop", "ResNet, 34 layers", 25.03, None, "resnet34", "A"),
)

# Table 3: "Error rates (%, 10-crop testing) on ImageNet validation. VGG-16 is based on our test.
# ResNet-50/101/152 are of option B that only uses projections for increasing dimensions." It does not say which
# of its models A, B and C PReLU-net is.
TABLE_3 = (
    _validation(3, "10-crop", "VGG-16", 28.07, 9.33, "vgg16"),
    _validation(3, "10-crop", "GoogLeNet", None, 9.15, "googlenet"),
    _validation(3, "10-crop", "PReLU-net", 24.27, 7.38),
    _validation(3, "10-crop", "plain-34", 28.54, 10.02, "plain34"),
    _validation(3, "10-crop", "ResNet-34 A", 25.03, 7.76, "resnet34", "A"),
    _validation(3, "10-crop", "ResNet-34 B", 24.52, 7.46, "resnet34", "B"),
    _validation(3, "10-crop", "ResNet-34 C", 24.19, 7.40, "resnet34", "C"),
    _validation(3, "10-crop", "ResNet-50", 22.85, 6.71, "resnet50", "B"),
    _validation(3, "10-crop", "ResNet-101", 21.75, 6.05, "resnet101", "B"),
    _validation(3, "10-crop", "ResNet-152", 21.43, 5.71, "resnet152", "B"),
)

# Table 4: "Error rates (%) of single-model results on the ImageNet validation set (except † reported on the
# test set)." VGG has several networks there; PReLU-net's is model C of arXiv:1502.01852.
TABLE_4 = (
    replace(_validation(4, "multi-scale", "VGG (ILSVRC'14)", None, 8.43), images="ImageNet test"),
    _validation(4, "multi-scale", "GoogLeNet (ILSVRC'14)", None, 7.89, "googlenet"),
    _validation(4, "multi-scale", "VGG (v5)", 24.4, 7.1),
    _validation(4, "multi-scale", "PReLU-net", 21.59, 5.71, "prelu_net_c"),
    _validation(4, "multi-scale", "BN-inception", 21.99, 5.81, "bn_inception"),
    _validation(4, "multi-scale", "ResNet-34 B", 21.84, 5.71, "resnet34", "B"),
    _validation(4, "multi-scale", "ResNet-34 C", 21.53, 5.60, "resnet34", "C"),
    _validation(4, "multi-scale", "ResNet-50", 20.74, 5.25, "resnet50", "B"),
    _validation(4, "multi-scale", "ResNet-101", 19.87, 4.60, "resnet101", "B"),
    _validation(4, "multi-scale", "ResNet-152", 19.38, 4.49, "resnet152", "B"),
)

# Table 5: "Error rates (%) of ensembles. The top-5 error is on the test set of ImageNet and reported by the test
# server." §4.1: "six models of different depth ... (only with two 152-layer ones at the time of submitting)".
TABLE_5 = tuple(
    Result(5, method, "ensemble", "ImageNet test", None, top5)
    for method, top5 in (
        ("VGG (ILSVRC'14)", 7.32),
        ("GoogLeNet (ILSVRC'14)", 6.66),
        ("VGG (v5)", 6.8),
        ("PReLU-net", 4.94),
        ("BN-inception", 4.82),
        ("ResNet (ILSVRC'15)", 3.57),
    )
)


def _cifar(
    method: str,
    layers: Optional[int],
    parameters: Optional[str],
    error: float,
    mean_std: Optional[tuple[float, float]] = None,
) -> Result:
    network, shortcut = (f"resnet{layers}", "A") if method == "ResNet" else (None, None)
    return Result(
        6, method, "cifar10", "CIFAR-10 test", error, None, network, shortcut, layers, parameters, mean_std
    )


# Table 6: "Classification error on the CIFAR-10 test set. All methods are with data augmentation. For ResNet-110,
# we run it 5 times and show 'best (mean±std)' as in [43]." §4.2: identity shortcuts "in all cases (i.e., option A)".
TABLE_6 = (
    _cifar("Maxout", None, None, 9.38),
    _cifar("NIN", None, None, 8.81),
    _cifar("DSN", None, None, 8.22),
    _cifar("FitNet", 19, "2.5M", 8.39),
    _cifar("Highway", 19, "2.3M", 7.54, (7.72, 0.16)),
    _cifar("Highway", 32, "1.25M", 8.80),
    _cifar("ResNet", 20, "0.27M", 8.75),
    _cifar("ResNet", 32, "0.46M", 7.51),
    _cifar("ResNet", 44, "0.66M", 7.17),
    _cifar("ResNet", 56, "0.85M", 6.97),
    _cifar("ResNet", 110, "1.7M", 6.43, (6.61, 0.16)),
    _cifar("ResNet", 1202, "19.4M", 7.93),
)

# Table 3 before Table 2, which has no top-5 errors.
_RESULTS = TABLE_3 + TABLE_2 + TABLE_4 + TABLE_5 + TABLE_6


def reference(network: str, shortcut: Optional[str], variant: str, protocol: str) -> Optional[Result]:
    """The row to print beside one's own result; None if the paper has none.

    Args:
        network: the name as for get_model; any for an ensemble, whose row is that of the paper's ensemble.
        shortcut: the option that the network was built with; None for the network's own, as for get_model.
        variant: the variant; the paper's nets are 'v1'.
        protocol: one of PROTOCOLS; the paper has no single views (1-crop) of ImageNet.
    """
    if protocol == "ensemble":
        return TABLE_5[-1]
    if shortcut is None and network.startswith("resnet"):
        shortcut = "A" if protocol == "cifar10" else "B"
    for result in _RESULTS:
        if (result.network, result.shortcut, "v1", result.protocol) == (network, shortcut, variant, protocol):
            return result
    return None


def rounds_to(count: float, printed: str) -> bool:
    """Whether `printed`, a decimal number, is `count` rounded or truncated to its digits.

    Both, because Table 1 does both: 7.57 is printed as 7.6, and the 3.86 of ResNet-50 as 3.8.
    """
    unit = 10.0 ** -len(printed.partition(".")[2])
    return -unit / 2 <= count - float(printed) < unit
