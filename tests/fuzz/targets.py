"""What is fuzzed in Python: readers of foreign bytes, the exceptions that each may raise, and what always holds.

A target takes bytes and reads them. Whatever they are, it returns, or raises what its reader documents; `check` adds
that messages do not grow with the bytes, and that neither a second nor 50 MB are spent. Messages may have any letter:
tools make them printable when they print them.
"""

from __future__ import annotations

import math
import os
import pathlib
import resource
import tempfile
import time
from typing import Any, Callable, NamedTuple, Optional

from json_mutator import Mutator, behind_a_length, of_a_line, of_text

from gluon_resnet.errors import DataError, ModelError, UsageError

LONGEST_MESSAGE = 4096  # letters
MOST_SECONDS = 1.0
MOST_KB = 50_000


class Finding(Exception):
    """Something that must not happen did."""


class Target(NamedTuple):
    """What reads.

    Attributes:
        run: takes a path, where the bytes stand, and the bytes.
        errors: those that it may raise.
        from_file: else nothing stands at the path.
        made: what bytes to read of those that the fuzzer gives: with sums of check that are right, for one.
        mutate: a way to change the fuzzer's bytes beside its own; ValueError where it does not apply.
    """

    run: Callable[[str, bytes], None]
    errors: tuple[type[Exception], ...]
    from_file: bool = True
    made: Callable[[bytes], bytes] = bytes
    mutate: Optional[Mutator] = None


def check(target: Target, path: str, data: bytes) -> None:
    """Let `target` read `data`; Finding, or whatever it was, unless it does so as it should."""
    data = target.made(data)
    if target.from_file:
        pathlib.Path(path).write_bytes(data)
    used, began = _peak_kb(), time.process_time()
    try:
        target.run(path, data)
    except target.errors as error:
        require(len(str(error)) <= LONGEST_MESSAGE, "a message is short", str(error)[:LONGEST_MESSAGE])
    seconds, grown = time.process_time() - began, _peak_kb() - used
    require(seconds < MOST_SECONDS, "a small input takes no time", seconds)
    require(grown < MOST_KB, "a small input takes no memory", grown)


def require(holds: bool, what: str, found: Any = "") -> None:
    if not holds:
        raise Finding(f"VIOLATED: {what}: {found!r}")


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def temporary_path() -> str:
    """Of a file in memory, in a folder of its own."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    return os.path.join(folder, "input")


# Each of these imports no more than its reader, as the fuzzer instruments what is imported.


def _params() -> Target:
    from gluon_resnet.models.parameters import read_arrays

    def run(path: str, data: bytes) -> None:
        arrays = read_arrays(path)
        require(sum(array.nbytes for array in arrays.values()) <= len(data), "values are in the file")

    return Target(run, (ModelError,))


def _card() -> Target:
    from gluon_resnet.card import ModelCard

    def run(path: str, data: bytes) -> None:
        card = ModelCard.load(path)
        pathlib.Path(path).write_text(card.text(), encoding="utf-8")
        require(ModelCard.load(path) == card, "a card is read as it was written", card)

    return Target(run, (ModelError,), mutate=of_text)


def _run_weights() -> Callable[[str, bytes], None]:
    from gluon_resnet.convert.weights_file import read_weights

    def run(path: str, data: bytes) -> None:
        for name, array in read_weights(path).items():
            require(not array.flags.writeable or array.size == 0, "arrays are read-only", name)
            require(array.size <= 16 * len(data), "values are in the file", name)
            array.sum()  # all of it is there

    return run


def _safetensors() -> Target:
    return Target(_run_weights(), (ModelError, UsageError), mutate=behind_a_length)


def _torch() -> Target:
    from seeds import torch_zip

    def made(data: bytes) -> bytes:
        """Of Z and a pickle an archive, whose sums of check would be wrong after each change."""
        return torch_zip(data[1:], {"0": bytes(24)}) if data[:1] == b"Z" else data

    return Target(_run_weights(), (ModelError, UsageError), made=made)


def _list() -> Target:
    from gluon_resnet.data.packing.image_list import can_list, format_list, read_list
    from gluon_resnet.data.packing.list_origin import ORIGIN_SUFFIX, read_origin

    def run(path: str, data: bytes) -> None:
        pathlib.Path(path + ORIGIN_SUFFIX).write_bytes(data)
        read_origin(path + ".lst")
        entries = read_list(path)
        require(len({entry.key for entry in entries}) == len(entries), "keys are unique")
        if all(can_list(entry.path) for entry in entries):
            text = format_list(entries)
            pathlib.Path(path).write_bytes(text.encode("utf-8", "surrogateescape"))
            again = [(entry.key, entry.path) for entry in read_list(path)]
            same = again == [(entry.key, entry.path) for entry in entries]
            require(same, "a list is read as it was written", text)

    return Target(run, (DataError,))


def _tar() -> Target:
    from gluon_resnet.data.packing.tar_archive import TarArchive

    def run(path: str, data: bytes) -> None:
        archive = TarArchive(path)
        for name in archive.survey().paths[:4]:
            archive.read(name)

    return Target(run, (DataError,), made=with_sums)


def with_sums(data: bytes) -> bytes:
    """A tar archive in which the headers' sums of check are right."""
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    for index, block in enumerate(blocks):
        if block[257:262] == b"ustar":
            total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
            blocks[index] = block[:148] + f"{total:06o}\0 ".encode() + block[156:]
    return b"".join(blocks)


def _form() -> Target:
    from gluon_resnet.serving.refusal import Refusal
    from gluon_resnet.serving.uploads import images_of

    def run(path: str, data: bytes) -> None:
        content_type, _, body = data.partition(b"\n")
        images = images_of(content_type.decode("latin-1"), body, 8)
        require(0 < len(images) <= 8, "the number of images is limited", len(images))
        require(sum(map(len, images)) <= len(body), "images are in the body")

    return Target(run, (Refusal,), from_file=False)


def _request() -> Target:
    from gluon_resnet.serving.parser import RequestParser
    from gluon_resnet.serving.refusal import Refusal

    def parsed(data: bytes, size: int) -> tuple[Any, bytes, Any]:
        """Head and body of the first request in `data`, which comes in pieces, and how it ends."""
        parser, body, end = RequestParser(), b"", "unfinished"
        try:
            for start in range(0, len(data), size):
                piece = memoryview(data)[start : start + size]
                while piece and not parser.complete:
                    piece = piece[parser.feed(piece) :]
                    body += b"".join(parser.take_body())
            end = "complete" if parser.complete else end
        except Refusal as refusal:
            require(400 <= refusal.status < 600, "a refusal has a status", refusal.status)
            require(len(str(refusal)) < LONGEST_MESSAGE, "a message is short", str(refusal))
            end = "refused"
        head = parser.head
        parser.close()
        return head, body, end

    def run(path: str, data: bytes) -> None:
        size = 1 + data[0] if data else 1
        data = data[1:]
        head, body, end = parsed(data, max(1, len(data)))
        require(len(body) <= len(data), "a body is in the request", len(body))
        parts = parsed(data, size)
        require(parts[2] == end, "the end does not depend on how a request comes", (end, parts[2]))
        if end != "refused":
            require(parts == (head, body, end), "nor do head and body", (head, body, parts))

    return Target(run, (), from_file=False)


def _connection() -> Target:
    from http_connection import Client

    client = Client()

    def run(path: str, data: bytes) -> None:
        size = 1 + data[0] if data else 1
        answer = client.talk([data[i : i + size] for i in range(1, len(data), size)])
        require(not answer or answer.startswith(b"HTTP/1.1 "), "an answer is HTTP's", answer)

    return Target(run, (), from_file=False)


def _symbol() -> Target:
    from gluon_resnet._mxnet import mx
    from gluon_resnet.deploy.graph import count_classes
    from gluon_resnet.deploy.symbol_file import SymbolFile

    most = 1 << 16  # values that are computed

    def run(path: str, data: bytes) -> None:
        """All that is done before a prediction, and one: what was checked ends no process in MXNet."""
        file = SymbolFile(path)
        count_classes(file, 16)
        shapes = file.shapes(16)
        file.dtypes(16)
        names = [*file.symbol.list_arguments(), *file.symbol.list_auxiliary_states()]
        known = dict(zip(names, [*shapes.arguments, *shapes.states]))
        known.pop("data")
        if not all(shape and min(shape) > 0 for shape in known.values()):
            return
        file.check_results(16, known)
        if sum(map(math.prod, known.values())) > most:
            return
        zeros = {name: mx.nd.ones(shape) for name, shape in known.items()}
        zeros["data"] = mx.nd.ones((1, 3, 16, 16))
        states = {name: zeros.pop(name) for name in file.symbol.list_auxiliary_states()}
        try:
            executor = file.symbol.bind(mx.cpu(), zeros, grad_req="null", aux_states=states)
            executor.forward()[0].wait_to_read()
        except mx.base.MXNetError:
            pass

    return Target(run, (ModelError,), mutate=of_text)


class _Pipe:
    """In the place of a socket from which `pieces` come."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def settimeout(self, seconds: float) -> None:
        pass

    def setsockopt(self, *option: int) -> None:
        pass

    def recv(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def _launcher() -> Target:
    from gluon_resnet.launch.member import Member

    def messages(pieces: list[bytes]) -> tuple[list[Any], str]:
        """What a launcher hears, and why no more."""
        member = Member(_Pipe(pieces), "127.0.0.1")  # type: ignore[arg-type]
        heard: list[Any] = []
        try:
            while True:
                heard += member.receive()
        except (EOFError, ValueError) as error:
            return heard, type(error).__name__

    def run(path: str, data: bytes) -> None:
        whole, end = messages([data] if data else [])
        size = 1 + data[0] % 32 if data else 1
        parts, end_of_parts = messages([data[i : i + size] for i in range(0, len(data), size)])
        require(parts[: len(whole)] == whole, "messages do not depend on how they come", (whole, parts))
        require(end == end_of_parts, "nor does the end", (end, end_of_parts))

    return Target(run, (), from_file=False, mutate=of_a_line)


TARGETS: dict[str, Callable[[], Target]] = {
    "params": _params,
    "card": _card,
    "safetensors": _safetensors,
    "torch": _torch,
    "list": _list,
    "tar": _tar,
    "form": _form,
    "request": _request,
    "connection": _connection,
    "symbol": _symbol,
    "launcher": _launcher,
}
