#!/usr/bin/env python3
"""Train a small residual net with PyTorch on record files, and go on exactly where it was stopped.

    python examples/pytorch_train.py --data-train train.rec --data-val val.rec --checkpoint run.pt
    python examples/pytorch_train.py --data-train train.rec --data-val val.rec --checkpoint run.pt --resume
    torchrun --nproc-per-node 2 examples/pytorch_train.py --data-train train.rec --data-val val.rec

A run that was stopped and resumed has the weights of one that was not; on the CPU to the bit.
"""

import argparse
import math
import os
import sys
from typing import Optional

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # works from a checkout, too

import torch
from torch import distributed, nn

from gluon_resnet.cli.command import run
from gluon_resnet.data import Batch, EvalTransform, Loader, TrainTransform
from gluon_resnet.errors import DataError, UsageError

RANK, WORLD_SIZE = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda", RANK % torch.cuda.device_count()) if CUDA else torch.device("cpu")
COLORS = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}  # of ImageNet, in levels of 0 to 255


def convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    convolve = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolve, nn.BatchNorm2d(outputs))


class Unit(nn.Module):
    """Two convolutions and a shortcut around them (He et al. 2015, Fig. 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        residual = [convolution(inputs, outputs, stride), nn.ReLU(), convolution(outputs, outputs)]
        self.residual = nn.Sequential(*residual)
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, stride, size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.residual(x) + self.shortcut(x))


def make_net(classes: int) -> nn.Module:
    units = [Unit(16, 16, 1), Unit(16, 32, 2), Unit(32, 64, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(convolution(3, 16), nn.ReLU(), *units, *head)


def parse(argv: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-train", required=True, metavar="FILE.rec")
    parser.add_argument("--data-val", required=True, metavar="FILE.rec")
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--size", type=int, default=32, help="of the crops, in pixels (default: 32)")
    parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together (default: 128)")
    parser.add_argument("--num-epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1, help="at first; falls to 0 (default: 0.1)")
    parser.add_argument("--checkpoint", default="run.pt", help="written after each epoch (default: run.pt)")
    parser.add_argument("--save-every", type=int, default=1000, help="and so often (default: 1000 steps)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser.parse_args(argv)


def make_loaders(args: argparse.Namespace) -> tuple[Loader, Loader]:
    """For training and validation: this rank's part of each batch."""
    if args.batch_size % WORLD_SIZE:
        raise UsageError(f"--batch-size: expected a multiple of {WORLD_SIZE} ranks, found {args.batch_size}")
    options = {"batch_size": args.batch_size // WORLD_SIZE, "rank": RANK, "world_size": WORLD_SIZE}
    options["threads"] = max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    options["transform"] = TrainTransform(args.size, **COLORS)
    train = Loader(args.data_train, shuffle=True, last_batch="discard", **options)
    options["transform"] = EvalTransform(args.size * 8 // 7, args.size, **COLORS)
    return train, Loader(args.data_val, last_batch="keep", **options)


def tensors(batch: Batch, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, which share the batch's memory until they go to a GPU, and classes."""
    labels = torch.from_numpy(batch.label).long()
    if not torch.all((labels >= 0) & (labels < classes)):
        raise DataError(f"--num-classes {classes}: found labels from {labels.min()} to {labels.max()}")
    return torch.from_dlpack(batch).to(DEVICE), labels.to(DEVICE)


@torch.no_grad()
def top1_error(net: nn.Module, loader: Loader, classes: int) -> float:
    """Over all records, of which each rank has a part."""
    net.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=DEVICE)
    for batch in loader:
        images, labels = tensors(batch, classes)
        wrong += (net(images).argmax(1) != labels).sum()
    if WORLD_SIZE > 1:
        distributed.all_reduce(wrong)
    return wrong.item() / loader.num_records


def main(argv: Optional[list[str]]) -> None:
    args = parse(argv)
    train, val = make_loaders(args)
    torch.manual_seed(0)
    net = model = make_net(args.num_classes).to(DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), args.lr, momentum=0.9, weight_decay=1e-4)
    parts = {"net": net, "optimizer": optimizer, "loader": train}
    step, steps = 0, args.num_epochs * len(train)
    if args.resume:
        saved = torch.load(args.checkpoint, map_location=DEVICE, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        step = saved["step"]
    if WORLD_SIZE > 1:
        distributed.init_process_group("nccl" if CUDA else "gloo")
        model = nn.parallel.DistributedDataParallel(net)

    def save() -> None:
        if RANK == 0:  # all ranks have the same; the file appears whole
            states = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**states, "step": step}, args.checkpoint + ".new")
            os.replace(args.checkpoint + ".new", args.checkpoint)

    for epoch in range(step // len(train), args.num_epochs):
        net.train()
        for batch in train:
            images, labels = tensors(batch, args.num_classes)
            optimizer.param_groups[0]["lr"] = args.lr * (1 + math.cos(math.pi * step / steps)) / 2
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % args.save_every == 0:
                save()
        save()
        error = top1_error(net, val, args.num_classes)
        if RANK == 0:
            print(f"epoch {epoch}: top-1 error {100 * error:.2f} %; {train.stats()}", flush=True)
    if WORLD_SIZE > 1:
        del model  # else its end ends the group with Python's lock held, for which gloo's threads may wait
        distributed.destroy_process_group()


if __name__ == "__main__":
    run(main)
