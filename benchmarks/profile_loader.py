#!/usr/bin/env python3
"""Where our loader's processor time goes: decoding JPEGs, and everything else.

    python benchmarks/profile_loader.py data/imagenet.rec --work train

perf samples all threads of benchmarks/loader.py after its start-up. Debian's libjpeg.so does not name its
functions, its libjpeg.a does: so the Python that is sampled is linked here, with libjpeg inside. What libc copies
and clears for libjpeg counts as everything else, since a sample does not tell whom it was for.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile

JPEG, ELSE = "JPEG decoding", "everything else"
OURS = r"_native\."
# The first that matches file and function has the sample.
PARTS = [
    (JPEG, "Huffman decoding", ".", r"JpegEntropy|JpegHuffman|decode_mcu|huff|fill_bit_buffer"),
    (JPEG, "inverse DCT", "jpeg-python", r"idct|decompress_"),
    (JPEG, "upsampling and color", "jpeg-python", r"upsample|convert|merged"),
    (JPEG, "the rest of libjpeg", "jpeg-python", "."),
    (JPEG, "our calls of it", OURS, r"gluon_resnet::Decoder|jpeg"),
    (ELSE, "scaling", OURS, r"resample|scale_|blend|split_|linear|footprint"),
    (ELSE, "normalizing, layout, type", OURS, r"gluon_resnet::finish$|normali[sz]e|jitter|color"),
    (ELSE, "reading records", OURS, r"Record|crc"),
    (ELSE, "the rest of ours", OURS, "."),
    (ELSE, "OpenCV", "opencv", "."),
    (ELSE, "copying and clearing memory", r"libc\b", r"mem(move|cpy|set)"),
    (ELSE, "kernel", "kernel", "."),
    (ELSE, "Python and the rest", ".", "."),
]


def link_python(folder: pathlib.Path) -> pathlib.Path:
    """A Python whose own copy of libjpeg, with its names, is found before the shared one."""
    source, program = folder / "python.c", folder / "jpeg-python"
    source.write_text(
        "int Py_BytesMain(int, char**);\nint main(int argc, char** argv) { return Py_BytesMain(argc, argv); }\n"
    )
    libraries, version = sysconfig.get_config_vars("LIBDIR", "LDVERSION")
    archive = subprocess.check_output(["cc", "-print-file-name=libjpeg.a"], text=True).strip()
    command = ["cc", "-no-pie", "-rdynamic", "-o", program, source, "-Wl,--whole-archive", archive]
    command += ["-Wl,--no-whole-archive", f"-L{libraries}", f"-Wl,-rpath,{libraries}", f"-lpython{version}"]
    subprocess.run(command, check=True)
    return program


def samples(args: argparse.Namespace, folder: pathlib.Path) -> collections.Counter[tuple[str, str]]:
    """How often each (file, function) was met."""
    data = str(folder / "perf.data")
    loader = pathlib.Path(__file__).with_name("loader.py")
    command = [
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "1999",
        "-D",
        str(int(1000 * args.skip)),
        "-o",
        data,
    ]
    command += [str(link_python(folder)), str(loader), args.records, "--peer", args.variant]
    command += [
        "--work",
        args.work,
        "--threads",
        str(args.threads),
        "--seconds",
        str(args.skip + args.seconds),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENBLAS_NUM_THREADS": "1",
    }
    print(subprocess.check_output(command, env=environment, text=True).strip(), "images/s while sampled")
    script = subprocess.check_output(
        ["perf", "script", "-i", data, "-F", "ip,sym,dso"], text=True, stderr=subprocess.DEVNULL
    )
    found = re.findall(r"^\s*[0-9a-f]+ (.*) \((.*)\)$", script, re.MULTILINE)
    return collections.Counter((file, function) for function, file in found)


def part_of(file: str, function: str) -> tuple[str, str]:
    for side, name, files, functions in PARTS:
        if re.search(files, file) and re.search(functions, function):
            return side, name
    raise AssertionError("the last part takes all")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", help="a .rec file with its .idx")
    parser.add_argument("--work", choices=("train", "eval", "cifar"), default="train")
    parser.add_argument("--variant", default="gluon-resnet", help="as benchmarks/loader.py names it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="to sample (default: 5)")
    parser.add_argument("--skip", type=float, default=2, help="seconds before that (default: 2)")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="show so many of each part")
    parser.add_argument("--json", metavar="FILE", help="write the shares there, too")
    args = parser.parse_args()
    if shutil.which("perf") is None:
        sys.exit("perf not found (Debian: apt-get install linux-perf)")
    with tempfile.TemporaryDirectory() as folder:
        counts = samples(args, pathlib.Path(folder))
    total = counts.total()
    parts = {(side, name): collections.Counter() for side, name, *_ in PARTS}
    for (file, function), count in counts.items():
        parts[part_of(file, function)][f"{function} ({os.path.basename(file)})"] += count
    share = {
        side: sum(c.total() for (s, _), c in parts.items() if s == side) / total for side in (JPEG, ELSE)
    }
    print(f"{args.variant}, {args.work}, {args.threads} threads, {args.records}: {total:,} samples")
    for side in (JPEG, ELSE):
        print(f"{side:30} {share[side]:6.1%}")
        for (of, name), functions in parts.items():
            if of != side or not functions:
                continue
            print(f"    {name:30} {functions.total() / total:6.1%}")
            for function, count in functions.most_common(args.functions):
                print(f"        {count / total:6.1%} {function}")
    if args.json:
        shares = {f"{side}: {name}": c.total() / total for (side, name), c in parts.items()}
        result = {"arguments": vars(args), "samples": total, "shares": shares}
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
