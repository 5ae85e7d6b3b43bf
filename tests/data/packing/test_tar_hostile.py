"""Archives that no program writes: each is refused in a sentence that says where, in memory and time of its size."""

from __future__ import annotations

import bz2
import gzip
import pathlib
import struct
from typing import Callable

import pytest

from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.errors import DataError

END = bytes(1024)
NEGATIVE = b"\xff" * 12


def header(
    name: bytes = b"a.jpg", size: bytes = b"00000000000\0", kind: bytes = b"0", link: bytes = b""
) -> bytes:
    """A block with a good checksum."""
    block = bytearray(512)
    for offset, field in (
        *((0, name), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, size)),
        *((136, b"00000000000\0"), (148, b" " * 8), (156, kind), (157, link), (257, b"ustar\00000")),
    ):
        block[offset : offset + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def large(size: int) -> bytes:
    return b"\x80" + bytes(3) + struct.pack(">Q", size)


def padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 512)


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A member that describes the next one, or with the kind b'g' all."""
    body = b""
    for name, value in pairs:
        record = b" " + name + b"=" + value + b"\n"
        length = len(record)
        while len(b"%d" % length) + len(record) != length:
            length = len(b"%d" % length) + len(record)
        body += b"%d" % length + record
    return header(b"pax", octal(len(body)), kind) + padded(body)


def sparse(*pairs: tuple[bytes, bytes], body: bytes = b"") -> bytes:
    return pax(*pairs) + header(size=octal(len(body))) + padded(body) + END


NEW_SPARSE = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"x.jpg"))
NO_PROGRAM = "headers that no program writes"
CASES = {
    "negative size": (header(size=NEGATIVE) + END, "at offset 0: the member a.jpg has a size of -1 bytes"),
    "negative size of attributes": (
        pax((b"size", b"-1")) + header() + END,
        "the member a.jpg has a size of -1",
    ),
    "negative header": (header(size=b"\xff" * 10 + b"\xf0\0", kind=b"x") + header() + END, "a header has -"),
    "negative name": (header(size=b"\xff" * 10 + b"\xf0\0", kind=b"L") + header() + END, "a header has -"),
    "2^40 bytes of name": (header(size=large(1 << 40), kind=b"L"), "a header has 10995"),
    "2^50 bytes of member": (
        header(size=large(1 << 50)) + END,
        r"impossible offset \d+ \(after the member a\.jpg\)",
    ),
    "2^95 bytes": (
        header(size=b"\x80" + b"\x7f" * 11) + END,
        "a header points to the impossible offset 1541356",
    ),
    "thousands of digits": (pax((b"size", b"9" * 999)) + header() + END, "300 digits in a row"),
    "quadratic": (header(b"p", octal(1 << 18), b"x") + b"1" * (1 << 18) + header() + END, "300 digits in"),
    "long attributes": (pax((b"path", b"a/" * 200_000)) + header() + END, "at most 262144 are allowed"),
    "attributes of nothing": (
        pax((b"path", b"a")) + END,
        "not a tar archive, or not a complete one: end of file",
    ),
    "attributes of attributes": (pax((b"path", b"a")) * 3000 + header() + END, NO_PROGRAM),
    "names of names": ((header(kind=b"L", size=octal(5)) + padded(b"abcd")) * 3000 + END, NO_PROGRAM),
    "no length": (header(b"p", octal(512), b"x") + padded(b"0 path=a\n") + header() + END, "invalid header"),
    "attributes of all": (
        pax(*((b"k%d" % i, b"v") for i in range(101)), kind=b"g") + header() + END,
        "attributes of all members: expected at most 100, found 101",
    ),
    "sparse": (header(kind=b"S") + END, "a.jpg is a sparse file"),
    "sparse 0.0": (
        sparse((b"GNU.sparse.size", b"1"), (b"GNU.sparse.offset", b"x"), (b"GNU.sparse.numbytes", b"1")),
        f"sparse file|{NO_PROGRAM}",
    ),
    "sparse 0.1": (sparse((b"GNU.sparse.map", b"1,2,3"), (b"GNU.sparse.size", b"z")), NO_PROGRAM),
    "sparse 1.0": (sparse(*NEW_SPARSE, body=b"1000000000000\n".ljust(512, b"\0")), NO_PROGRAM),
    "sparse 1.0 letters": (sparse(*NEW_SPARSE, body=b"zz\n".ljust(512, b"\0")), NO_PROGRAM),
    "a tar of nothing": (
        header(b"x\x1b.tar") + END,
        r": x\\u001b\.tar: not a tar archive, or not a complete one",
    ),
    "a tar of garbage": (
        header(b"x.tar", octal(512)) + b"z" * 512 + END,
        r": x\.tar: not a tar archive, or not a complete one",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_headers_that_no_program_writes(
    tmp_path: pathlib.Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    content, message = CASES[name]
    path = tmp_path / "t"
    path.write_bytes(compress(content))
    if compress is not bytes and name in ("2^50 bytes of member", "2^95 bytes"):
        message = "impossible offset|has been cut short|unexpected end of data"
    with pytest.raises(DataError, match=message) as caught:
        TarArchive(str(path))
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500 + len(str(path))
    assert str(caught.value).isprintable()


def test_odd_archives_that_are_read(tmp_path: pathlib.Path) -> None:
    content = (
        pax(
            (b"hdrcharset", b"idna"),
            (b"mtime", b"nan"),
            (b"size", b"1e999"),
            (b"path", b"\x1b[31m\n\xff.jpg"),
        )
        + header()
        + header(b"h.jpg", kind=b"1", link=b"/etc/passwd")
        + header(b"s.jpg", kind=b"2", link=b"../../../etc/passwd")
        + header(b"l.jpg", kind=b"2", link=b"l.jpg")
        + header(b"", kind=b"\xff")
        + header(b"/abs.jpg", kind=b"3")
        + header(b"../up.jpg")
        + END
    )
    (tmp_path / "t").write_bytes(content)
    archive = TarArchive(str(tmp_path / "t"))
    assert archive.read("\x1b[31m\n\udcff.jpg") == b""
    assert archive.read("../up.jpg") == b""
    for name in ("h.jpg", "s.jpg", "l.jpg", "/abs.jpg", "/etc/passwd"):
        with pytest.raises(DataError, match="does not exist|no such member"):
            archive.read(name)


def test_members_are_bounded_by_the_size_of_the_file(tmp_path: pathlib.Path) -> None:
    """Equal headers take three bytes each in a compressed archive."""
    members = 20_000
    (tmp_path / "plain").write_bytes(header() * members + END)
    assert TarArchive(str(tmp_path / "plain")).survey().paths == ["a.jpg"]
    (tmp_path / "packed").write_bytes(gzip.compress(header() * members + END))
    with pytest.raises(DataError, match=r"more members than a file of this size can hold, up to a\.jpg"):
        TarArchive(str(tmp_path / "packed"))
