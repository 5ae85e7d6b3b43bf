"""The first inputs of the fuzzers that are no images: small files as their writers make them, and some of others.

python tests/fuzz/seeds.py FOLDER     writes FOLDER/TARGET/NAME for each target
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import pathlib
import struct
import sys
import tarfile
import zipfile
from typing import Any


def array(shape: tuple[int, ...], flag: int = 0, size: int = 4, magic: int = 0xF993FAC9) -> bytes:
    """A dense array of zeros in a .params file."""
    elements = 1
    for length in shape:
        elements *= length
    storage = b"" if magic == 0xF993FAC8 else struct.pack("<i", 0)
    head = struct.pack("<I", magic) + storage + struct.pack(f"<i{len(shape)}q", len(shape), *shape)
    return head + struct.pack("<3i", 1, 0, flag) + bytes(elements * size)


def params_file(arrays: list[bytes], names: list[str]) -> bytes:
    texts = b"".join(struct.pack("<Q", len(name.encode())) + name.encode() for name in names)
    head = struct.pack("<3Q", 0x112, 0, len(arrays))
    return head + b"".join(arrays) + struct.pack("<Q", len(names)) + texts


def params() -> dict[str, bytes]:
    two = [array((2, 3)), array((4,))]
    return {
        "none": params_file([], []),
        "two": params_file(two, ["arg:conv_weight", "aux:mean"]),
        "types": params_file(
            [array((2,), flag, size) for flag, size in enumerate((4, 8, 2, 1, 4, 1, 8))], list("abcdefg")
        ),
        "old": params_file([array((2, 2), magic=0xF993FAC8)], ["w"]),
        "numpy": params_file([array((1,), magic=0xF993FACA)], ["é"]),
        "empty": params_file([array((0, 5))], ["w"]),
        "twice": params_file(two, ["a", "a"]),
        "cut": params_file(two, ["arg:a", "aux:b"])[:-3],
        "more": params_file(two, ["a", "b"]) + b"x",
        "huge": params_file([array((0, 2**62, 2**62))], ["w"]),
        "negative": params_file([struct.pack("<IiiqIII", 0xF993FAC9, 0, 1, -1, 1, 0, 0)], ["w"]),
    }


def card_value() -> dict[str, Any]:
    """A card with all its parts, as export.py writes it."""
    data = {"files": ["a.rec"], "images": 10, "fingerprint": "0" * 16}
    return {
        "format": "gluon-resnet model card 2",
        "network": "resnet18",
        "shortcut": None,
        "variant": "v1",
        "classes": ["cat", "dog"],
        "preprocessing": {
            "decoder": "libjpeg-turbo",
            "resize": 36,
            "interpolation": "linear",
            "crop": "center",
            "size": 32,
            "channels": "RGB",
            "mean": [123.7, 116.3, 103.5],
            "std": [58.4, 57.1, 57.4],
            "per_pixel_mean": False,
        },
        "epoch": 3,
        "data": {"training": data, "validation": None},
        "recipe": None,
        "errors": [],
        "versions": {"mxnet": "1.9.1"},
        "source": None,
        "exported": None,
        "quantization": {"kind": "int8", "layers": [1, 2.5, None, True]},
    }


def card() -> dict[str, bytes]:
    value = card_value()
    plain = {**value, "data": None, "quantization": None, "versions": {}}
    exported = {**plain, "exported": {"sha256": "0" * 64, "formats": ["mxnet", "onnx"]}}
    texts = {
        "whole": json.dumps(value, indent=2),
        "plain": json.dumps(plain),
        "exported": json.dumps(exported),
        "classes": "cat\ndog\r\n\n",
        "deep": "[" * 500,
        "nan": '{"classes": [NaN, Infinity, 1e999]}',
        "surrogate": json.dumps({**plain, "classes": ["\ud800"]}),
        "escape": json.dumps({**plain, "network": "\x1b[2J", "format": "\n" * 9}),
    }
    return {name: text.encode() for name, text in texts.items()}


def graph_text(*nodes: tuple[str, dict[str, str], list[int]], heads: Any = None) -> str:
    """A -symbol.json of the input `data`, number 0, and `nodes`: operator, attributes, numbers of the inputs."""
    listed: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    for index, (op, attributes, inputs) in enumerate(nodes, 1):
        node: dict[str, Any] = {"op": op, "name": f"n{index}", "inputs": [[at, 0, 0] for at in inputs]}
        listed.append({**node, "attrs": attributes} if attributes else node)
    variables = [index for index, node in enumerate(listed) if node["op"] == "null"]
    return json.dumps(
        {
            "nodes": listed,
            "arg_nodes": variables,
            "node_row_ptr": list(range(len(listed) + 1)),
            "heads": heads or [[len(listed) - 1, 0, 0]],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
    )


def graphs() -> dict[str, bytes]:
    none: dict[str, str] = {}
    weight = ("null", none, [])
    convolution = {
        "kernel": "(3, 3)",
        "num_filter": "4",
        "pad": "(1, 1)",
        "stride": "(1, 1)",
        "no_bias": "True",
    }
    pooling = {"kernel": "(2, 2)", "stride": "(2, 2)", "pool_type": "max", "pooling_convention": "full"}
    dense = ("FullyConnected", {"num_hidden": "3", "flatten": "True"}, [1, 2, 3])
    shapes = [
        ("Flatten", none, [0]),
        ("Reshape", {"shape": "(-1, 4, 3, 2)"}, [1]),
        ("transpose", {"axes": "(0, 2, 3, 1)"}, [2]),
        ("slice_axis", {"axis": "1", "begin": "0", "end": "2"}, [3]),
        ("expand_dims", {"axis": "1"}, [4]),
        ("squeeze", {"axis": "(1,)"}, [5]),
        ("mean", {"axis": "(2, 3)", "keepdims": "False"}, [6]),
        ("softmax", {"axis": "-1"}, [7]),
    ]
    elements = [
        ("clip", {"a_min": "0", "a_max": "6"}, [0]),
        ("_mul_scalar", {"scalar": "0.5"}, [1]),
        ("elemwise_add", none, [1, 2]),
        ("Concat", {"num_args": "2", "dim": "1"}, [1, 3]),
        ("Pad", {"mode": "edge", "pad_width": "(0, 0, 0, 0, 1, 1, 1, 1)"}, [4]),
        ("LeakyReLU", {"act_type": "elu", "slope": "0.1"}, [5]),
        ("Dropout", {"p": "0.5"}, [6]),
        ("SliceChannel", {"num_outputs": "2", "axis": "1"}, [7]),
    ]
    texts = {
        "dense": graph_text(("Flatten", none, [0]), weight, weight, dense),
        "convolution": graph_text(weight, ("Convolution", convolution, [0, 1])),
        "normalized": graph_text(
            *[weight] * 4, ("BatchNorm", {"eps": "1e-05", "fix_gamma": "False", "axis": "1"}, [0, 1, 2, 3, 4])
        ),
        "pooling": graph_text(("Activation", {"act_type": "relu"}, [0]), ("Pooling", pooling, [1])),
        "global": graph_text(
            ("Pooling", {"global_pool": "True", "kernel": "(1, 1)", "pool_type": "avg"}, [0])
        ),
        "shapes": graph_text(*shapes),
        "elements": graph_text(*elements),
        "output": graph_text(("Flatten", none, [0]), heads=[[1, 77, 0]]),
        "axes": graph_text(("transpose", {"axes": "(0, 0, 0, 0)"}, [0])),
        "negative": graph_text(("Pooling", {**pooling, "kernel": "(-2, 2)"}, [0])),
        "deep": "[" * 500,
    }
    return {name: text.encode() for name, text in texts.items()}


def safetensors_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors() -> dict[str, bytes]:
    def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    metadata = {"__metadata__": {"format": "pt"}}
    return {
        "none": safetensors_file(metadata),
        "two": safetensors_file(
            {**metadata, "a": tensor("F32", [2, 2], 0, 16), "b": tensor("I64", [1], 16, 24)}, bytes(24)
        ),
        "halves": safetensors_file(
            {"a": tensor("BF16", [3], 0, 6), "b": tensor("F16", [1], 6, 8), "c": tensor("BOOL", [2], 8, 10)},
            bytes(10),
        ),
        "eighths": safetensors_file({"a": tensor("F8_E4M3", [2], 0, 2)}, bytes(2)),
        "empty": safetensors_file({"a": tensor("F32", [0, 2**40], 0, 0)}),
        "overlap": safetensors_file({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 0, 4)}, bytes(4)),
        "deep": safetensors_file(b'{"a":' + b"[" * 300),
        "escape": safetensors_file({"\x1b[2J\n": tensor("F32", [1], 0, 4)}, bytes(4)),
    }


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor_pickle(key: str, length: int, function: str = "_rebuild_tensor_v2", kind: str = "Float") -> bytes:
    """A tensor of 2 x 3 as PyTorch's pickles have it."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu")
    storage += b"K" + bytes([length]) + b"tQ"
    end = b"\x89ccollections\nOrderedDict\n)R" if function == "_rebuild_tensor_v2" else b""
    arguments = b"(" + storage + b"K\0K\2K\3\x86K\3K\1\x86" + end + b"t"
    return f"ctorch._utils\n{function}\n".encode() + arguments + b"R"


def torch_zip(pickle: bytes, storages: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/data.pkl", pickle)
        archive.writestr("a/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"a/data/{key}", values)
        archive.writestr("a/version", "3\n")
    return stream.getvalue()


def torch_pickles(value: bytes, keys: dict[str, bytes]) -> bytes:
    magic = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
    machine = b"}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + b"\x88u"
    listed = b"](" + b"".join(map(text, keys)) + b"e"
    storages = b"".join(struct.pack("<Q", len(values) // 4) + values for values in keys.values())
    parts = (magic, b"M\xe9\x03", machine, value, listed)
    return b"".join(map(pickled, parts)) + storages


def torch() -> dict[str, bytes]:
    weights = b"}(" + text("a") + tensor_pickle("0", 6) + text("b") + tensor_pickle("0", 6) + b"u"
    old = b"}(" + text("a") + tensor_pickle("7", 6, "_rebuild_tensor") + b"u"
    halves = b"}(" + text("a") + tensor_pickle("0", 6, kind="BFloat16") + b"u"
    ordered = b"ccollections\nOrderedDict\n)R(" + text("a") + tensor_pickle("0", 6)
    around = b"}(" + text("epoch") + b"K\5" + text("state_dict") + ordered + b"uu"
    code = b"}(" + text("a") + b"cos\nsystem\n" + text("true") + b"\x85Ru"
    return {
        "in-zip": b"Z" + pickled(weights),
        "around-in-zip": b"Z" + pickled(around),
        "zip": torch_zip(pickled(weights), {"0": bytes(24)}),
        "deflated": torch_zip(pickled(weights), {"0": bytes(24)}, zipfile.ZIP_DEFLATED),
        "halves": torch_zip(pickled(halves), {"0": bytes(12)}),
        "around": torch_zip(pickled(around), {"0": bytes(24)}),
        "code": torch_zip(pickled(code), {}),
        "legacy": torch_pickles(weights, {"0": bytes(24)}),
        "older": torch_pickles(old, {"7": bytes(24)}),
        "legacy-around": torch_pickles(around, {"0": bytes(24)}),
        "legacy-code": torch_pickles(code, {}),
        "protocol-4": b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94.",
    }


def lists() -> dict[str, bytes]:
    origin = {
        "what": "the origin of a list of im2rec.py",
        "prefix": "a",
        "listed": False,
        "root": "/a",
        "options": {
            "exts": [".jpg"],
            "recursive": True,
            "shuffle": False,
            "chunks": 1,
            "train_ratio": 1.0,
            "test_ratio": 0.0,
        },
        "pictures": 2,
        "names": "0",
        "content": "1",
    }
    return {
        "two": b"0\t0.000000\ta/x.jpg\n1\t1.000000\tb/y.jpg\n",
        "labels": b"7\t0.5\t-1e3\t3\tz.png\r\n",
        "bom": b"\xef\xbb\xbf0\t0\ta\n\n",
        "utf-16": "0\t0\ta\n".encode("utf-16"),
        "bytes": b"0\t0\t\xff\xfe\n",
        "wrong": b"x\t0\ta\n",
        "numbers": b"0\tnan\ta\n1\tinf\tb\n2\t1e39\tc\n3\t16777217\td\n9223372036854775808\t0\te\n",
        "again": b"0\t0\ta\n0\t0\tb\n",
        "digits": "\u0663\t\u0661_0\ta\n".encode(),
        "origin": json.dumps(origin).encode(),
    }


def tar_file(members: list[tuple[str, bytes, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Members are a name, a type and the content, or a link's target."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    data = stream.getvalue().rstrip(b"\0")  # what tar writes has 10 KiB at least
    return data + bytes(-len(data) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def tar() -> dict[str, bytes]:
    pictures = [("a/x.jpg", tarfile.REGTYPE, b"\xff\xd8\xff"), ("b/y.png", tarfile.REGTYPE, b"\x89PNG")]
    links = [
        ("l", tarfile.SYMTYPE, b"a/x.jpg"),
        ("h.jpg", tarfile.LNKTYPE, b"l"),
        ("d", tarfile.DIRTYPE, b""),
    ]
    long = [("n" * 120 + ".jpg", tarfile.REGTYPE, b"x"), ("ä/é.jpg", tarfile.REGTYPE, b"x")]
    plain = tar_file(pictures)
    return {
        "plain": plain,
        "links": tar_file(pictures + links),
        "gnu": tar_file(long, tarfile.GNU_FORMAT),
        "pax": tar_file(long),
        "ustar": tar_file(pictures, tarfile.USTAR_FORMAT),
        "nested": tar_file([("c.tar", tarfile.REGTYPE, tar_file(pictures[:1]))]),
        "special": tar_file([("p", tarfile.FIFOTYPE, b""), ("c", tarfile.CHRTYPE, b"")]),
        "hidden": tar_file([("../x.jpg", tarfile.REGTYPE, b"x"), ("/y.jpg", tarfile.REGTYPE, b"x")]),
        "gzip": gzip.compress(plain, mtime=0),
        "cut": plain[:700],
    }


def form_file(content_type: str, body: bytes) -> bytes:
    return content_type.encode() + b"\n" + body


def form() -> dict[str, bytes]:
    def part(headers: str, content: bytes) -> bytes:
        return b"--b\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"

    file = part('Content-Disposition: form-data; name="image"; filename="a.jpg"', b"\xff\xd8\xff")
    typed = part(
        'Content-Disposition: form-data; name="image"; filename="b.png"\r\nContent-Type: image/png', b"x" * 40
    )
    field = part('Content-Disposition: form-data; name="topk"', b"3")
    extended = part("Content-Disposition: form-data; name=i; filename*=utf-8''%e2%82%ac.jpg", b"y")
    instances = {"instances": [{"b64": base64.b64encode(b"\xff\xd8\xff").decode()}] * 2}
    kind = "multipart/form-data; boundary=b"
    return {
        "file": form_file(kind, file + b"--b--\r\n"),
        "two": form_file('multipart/form-data; boundary="b"', file + typed + b"--b--"),
        "extended": form_file(kind, extended + b"--b--\r\n"),
        "field": form_file(kind, field + b"--b--\r\n"),
        "cut": form_file(kind, file),
        "parameters": form_file("multipart/form-data; boundary*0=b; boundary*1*=idna''x" + ";" * 40, file),
        "semicolons": form_file('multipart/form-data; boundary="' + ";" * 60_000, file),
        "jpeg": form_file("image/jpeg", b"\xff\xd8\xff"),
        "json": form_file("application/json", json.dumps(instances).encode()),
        "bad-json": form_file("application/json", b'{"instances": [{"b64": "!"}, NaN, [[[['),
        "none": form_file("text/plain", b"x"),
    }


def request() -> dict[str, bytes]:
    """The first byte is the size of the pieces, less one, in which the request comes."""
    post = b"POST /predict?top_k=3 HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: image/jpeg\r\n"
    chunks = b"4;name=value\r\nabcd\r\n1\r\ne\r\n0\r\nTrailer: x\r\n\r\n"
    texts = {
        "get": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "old": b"GET /health HTTP/1.0\r\n\r\n",
        "post": post + b"Content-Length: 5\r\n\r\nabcde",
        "chunked": post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        "both": post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        "expect": post + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        "next": b"GET /%61?b HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
        "upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "absolute": b"GET http://a/b?c HTTP/1.1\r\nHost: [\r\n\r\n",
        "folded": b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "future": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "small": post + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 40,
    }
    return {name: b"\x06" + text for name, text in texts.items()}


def launcher() -> dict[str, bytes]:
    hello = b'{"role": "worker", "host": "a", "pid": 7, "port": 15000}\n'
    line = b'{"line": "epoch 1\\u001b[1m", "stream": 2}\n'
    return {
        "whole": hello + line + b'{"ended": 0}\n',
        "killed": hello + b'{"ended": -9}\n',
        "roles": hello.replace(b"worker", b"server") + hello.replace(b"worker", b"scheduler"),
        "wrong": b'{"role": "king"}\n[]\n7\n""\nnull\n',
        "numbers": b'{"ended": 1e999}\n{"ended": NaN}\n{"line": "x", "stream": Infinity}\n',
        "deep": b"[" * 2000 + b"\n",
        "cut": hello + line[:20],
    }


def index() -> dict[str, bytes]:
    return {
        "two": b"0\t0\n1\t64\n",
        "backwards": b"9\t128\r\n8\t64\r\n7\t0",
        "same": b"1\t4\n1\t4\n",
        "negative": b"-5\t0\n",
        "behind": b"0\t4096\n",
        "odd": b"0\t2\n",
        "words": b"key\toffset\n",
        "large": b"9223372036854775807\t18446744073709551616\n",
        "empty-line": b"0\t0\n\n",
        "escape": b"\x1b[2J\t0\n",
    }


SEEDS = {
    "params": params,
    "card": card,
    "symbol": graphs,
    "safetensors": safetensors,
    "torch": torch,
    "list": lists,
    "tar": tar,
    "form": form,
    "request": request,
    "connection": request,
    "launcher": launcher,
    "index": index,
}


def main() -> None:
    for target, make in SEEDS.items():
        folder = pathlib.Path(sys.argv[1], target)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
