"""Graphs that no exporter writes, made of good ones: by hand, and by a mutator with a fixed seed."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Callable

NUMBERS = ["-1", "0", "1", "2", "3", "7", "-2", "16384", "16385", "2147483648", "1e400", "nan", "9" * 30]
VALUES = [
    *NUMBERS,
    "(0, 0)",
    "(-2, -2)",
    "(2, 2)",
    "(1, 1, 1)",
    "(16384, 16384)",
    "()",
    "None",
    "True",
    "relu",
    "x\u001b",
]
OPERATORS = [
    "relu",
    "Flatten",
    "BatchNorm",
    "transpose",
    "tile",
    "_foreach",
    "Custom",
    "null",
    "_sg_mkldnn_conv",
]


def node(graph: dict[str, Any], op: str) -> dict[str, Any]:
    """The first node of an operator."""
    return next(node for node in graph["nodes"] if node["op"] == op)


def in_front(graph: dict[str, Any], op: str, attributes: dict[str, str]) -> None:
    """Let the last layer read `op` of what it reads."""
    last = graph["nodes"][graph["heads"][0][0]]
    index = graph["nodes"].index(last)
    new = {"op": op, "name": "new", "attrs": attributes, "inputs": [last["inputs"][0]]}
    graph["nodes"].insert(index, new)
    for later in graph["nodes"][index + 1 :]:
        later["inputs"] = [[i + (i >= index), *rest] for i, *rest in later["inputs"]]
    last["inputs"][0] = [index, 0, 0]
    graph["heads"] = [[graph["heads"][0][0] + 1, 0, 0]]


def attribute(op: str, name: str, value: str) -> Callable[[dict[str, Any]], None]:
    return lambda graph: node(graph, op)["attrs"].update({name: value})


def chain(graph: dict[str, Any]) -> None:
    first = len(graph["nodes"])
    graph["nodes"] += [
        {"op": "relu", "name": f"r{i}", "inputs": [[first + i - 1, 0, 0]]} for i in range(300_000)
    ]


def terabytes(graph: dict[str, Any]) -> None:
    for _ in range(3):
        in_front(graph, "UpSampling", {"scale": "64", "sample_type": "nearest", "num_args": "1"})
    in_front(graph, "_contrib_AdaptiveAvgPooling2D", {"output_size": "1"})


def with_a_last(op: str, **attributes: str) -> Callable[[dict[str, Any]], None]:
    return lambda graph: in_front(graph, op, attributes)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set what stands at 'nodes.3.inputs', say."""

    def apply(graph: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        place: Any = graph
        for key in outer:
            place = place[int(key) if isinstance(place, list) else key]
        place[int(last) if isinstance(place, list) else last] = value

    return apply


# What is done to the graph of a resnet8 for 32x32 pixels, and words of the sentence about it.
CASES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "output of a head": (lambda g: g["heads"][0].__setitem__(1, 77), "has no output 77: there is 1"),
    "output of an input": (
        lambda g: node(g, "FullyConnected")["inputs"][0].__setitem__(1, 1_000_000),
        "has no output 1000000: there is 1",
    ),
    "hidden output": (
        lambda g: node(g, "Activation")["inputs"][0].__setitem__(1, 1),
        "has no output 1: there is 1",
    ),
    "node of a head": (change("heads", [[99999, 0, 0]]), "a head refers to node 99999"),
    "negative node": (change("heads", [[-1, 0, 0]]), "expected [node, output, version]"),
    "circle": (lambda g: node(g, "Convolution").update(inputs=[[200, 0, 0]]), "does not come before it"),
    "two heads": (lambda g: g["heads"].append(g["heads"][0]), "and one output"),
    "no input": (lambda g: node(g, "null").update(name="pictures"), "with the input 'data'"),
    "too few inputs": (lambda g: node(g, "BatchNorm")["inputs"].pop(), "expected 5 inputs, found 4"),
    "two of a name": (
        lambda g: g["nodes"][g["arg_nodes"][1]].update(name="data"),
        "two inputs are named 'data'",
    ),
    "NUL in a name": (change("nodes.1.name", "a\0b"), "has a control character"),
    "axis twice": (with_a_last("transpose", axes="(0,0,0,0)"), "an axis is repeated"),
    "axes left out": (
        lambda g: [
            in_front(g, "_contrib_BilinearResize2D", {"height": "4", "width": "4"}),
            in_front(g, "Reshape", {"shape": "(-3, 0)"}),
            in_front(g, "mean", {"axis": "(1,)"}),
            in_front(g, "Reshape", {"shape": "(1, -1)"}),
        ],
        "expected as many values as its input has, found shape (64, 4)",
    ),
    "axes with a gap": (with_a_last("transpose", axes="(0,2)"), "expected each axis once"),
    "negative kernel": (
        attribute("Convolution", "kernel", "(-2,-2)"),
        "kernel: expected 2 whole numbers from 1",
    ),
    "no stride": (attribute("Convolution", "stride", "(0,0)"), "stride: expected"),
    "no groups": (attribute("Convolution", "num_group", "0"), "num_group: expected a whole number from 1"),
    "huge number": (attribute("Convolution", "num_filter", "9" * 500), "num_filter: expected a whole number"),
    "padding over the kernel": (
        with_a_last("Pooling", kernel="(1,1)", pad="(3,3)"),
        "pad: expected less than the kernel",
    ),
    "not a number": (attribute("BatchNorm", "eps", "nan"), "eps: expected a number from"),
    "unknown attribute": (attribute("BatchNorm", "epsilon", "1"), "there is no attribute 'epsilon'"),
    "missing attribute": (lambda g: node(g, "Convolution")["attrs"].pop("kernel"), "'kernel' is missing"),
    "unknown operator": (
        with_a_last("tile", reps="(1, 1000000000000)"),
        "tile, the node 'new': this operator is not one of the supported operators",
    ),
    "terabytes": (
        terabytes,
        "expected a result of 1 to 2^31 - 1 values, found shape (1, 64, 262144, 262144)",
    ),
    "statistics of another node": (
        lambda g: node(g, "BatchNorm")["inputs"].__setitem__(3, node(g, "BatchNorm")["inputs"][0]),
        "expected a parameter as its input 3",
    ),
    "fused of nothing": (
        lambda g: node(g, "squeeze").update(op="_sg_mkldnn_conv", attrs={"with_bn": "true"}),
        "a graph inside it is missing",
    ),
    "graph in a node": (
        lambda g: node(g, "Activation").update(subgraphs=[copy.deepcopy(g)]),
        "does not belong there",
    ),
    "control": (lambda g: node(g, "Activation").update(control_deps=[0]), "control_deps"),
    "chain of 300,000": (chain, "expected at most 16384 nodes"),
}

# Texts that are no graph, and words of the sentence.
TEXTS = {
    "nothing": ("", "this is not JSON: expected a graph, found the end (at byte 0)"),
    "arrays": ("[" * 100_000, "expected a graph, found an array"),
    "deep": ('{"nodes": [], "heads": [], "x": ' + "[" * 100_000, "more than 64 levels"),
    "twice": ('{"nodes": [], "nodes": []}', "there are two values for 'nodes'"),
    "cut": ('{"nodes": [{"op": "nu', "this is not JSON: a string has no end"),
    "more": ('{"nodes": [], "heads": []} {', "something follows the end"),
    "escape": ('{"nodes\\x": []}', "expected an escape sequence"),
    "surrogate": ('{"\\ud800": []}', "half of a surrogate pair"),
    "numbers": ('{"nodes": [], "heads": [[1e999, 0]]}', "expected a number, found 1e999"),
    "digits": ('{"nodes": [], "heads": [[%s, 0]]}' % ("9" * 50), "expected a number, found 999"),
    "infinity": ('{"nodes": [], "heads": [], "x": Infinity}', "expected a value"),
    "control": ('{"nodes": [], "he\nads": []}', "a control character in a string"),
}


def mutated(graph: dict[str, Any], seed: int) -> str:
    """A graph with one to three changes, each of which may do no harm."""
    draw = random.Random(seed)
    graph = copy.deepcopy(graph)
    for _ in range(draw.choice([1, 1, 2, 3])):
        nodes = graph["nodes"]
        inner = [s for n in nodes for s in n.get("subgraphs", [])]
        if inner and draw.random() < 0.4:
            nodes = draw.choice(inner)["nodes"]
        victim = draw.choice([n for n in nodes if n["op"] != "null"] if draw.random() < 0.9 else nodes)
        attributes = victim.setdefault("attrs", {})
        what = draw.randrange(8)
        if what <= 2 and attributes:
            attributes[draw.choice(sorted(attributes))] = draw.choice(VALUES)
        elif what == 3 and attributes:
            del attributes[draw.choice(sorted(attributes))]
        elif what == 4 and victim["inputs"]:
            entry = draw.choice(victim["inputs"])
            entry[draw.randrange(len(entry))] = draw.choice([0, 1, 2, 3, 77, -1, 2**31, 2**63, len(nodes)])
        elif what == 5:
            if victim["inputs"] and draw.random() < 0.5:
                victim["inputs"].pop(draw.randrange(len(victim["inputs"])))
            else:
                victim["inputs"].append([draw.randrange(len(nodes)), 0, 0])
        elif what == 6:
            victim["op"] = draw.choice(OPERATORS)
        else:
            victim["inputs"] = [[draw.randrange(max(1, nodes.index(victim))), 0, 0] for _ in victim["inputs"]]
    return json.dumps(graph)
