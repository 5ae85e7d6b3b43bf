"""Lists of pictures: MXNet's own, byte for byte, and all that can be wrong with one."""

from __future__ import annotations

import pathlib

import pytest

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data.packing.image_list import Entry, class_names, format_list, list_by_folder, read_list
from gluon_resnet.errors import DataError
from tests.support import mxnet_im2rec
from tests.support.collections_of_pictures import write_tree


@pytest.mark.parametrize(
    "flags",
    [
        "--recursive",
        "--recursive --no-shuffle",
        "",
        "--recursive --chunks 3",
        "--recursive --train-ratio 0.6 --test-ratio 0.2",
        "--recursive --train-ratio 0.5 --chunks 2",
        "--recursive --train-ratio 0.5 --test-ratio 0.5",
        "--exts .jpg .txt",
    ],
)
def test_lists_are_mxnets(tmp_path: pathlib.Path, flags: str) -> None:
    tree = write_tree(tmp_path / "tree")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    mxnet_im2rec.run(tmp_path / "theirs" / "p", tree, "--list", *flags.split())
    assert not main([str(tmp_path / "ours" / "p"), str(tree), "--list", *flags.split()])
    theirs = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    ours = {path.name: path.read_bytes() for path in (tmp_path / "ours").glob("*.lst")}
    assert ours == theirs


def test_a_list_is_read_back(tmp_path: pathlib.Path) -> None:
    entries = [Entry(7, (1.0,), "a b/c.jpg"), Entry(0, (0.5, -2.0), "ä/\udcff.png")]
    path = tmp_path / "a.lst"
    path.write_bytes(format_list(entries).encode("utf-8", "surrogateescape") + b"\n")
    assert read_list(str(path)) == entries
    path.write_bytes(b" 3 \t 1 \t x.jpg \r\n")  # MXNet's reader takes blanks away, too
    assert read_list(str(path)) == [Entry(3, (1.0,), "x.jpg")]
    path.write_bytes("\ufeff3\t16777216\t0.1\tx.jpg\n".encode())
    assert read_list(str(path)) == [Entry(3, (16777216.0, 0.1), "x.jpg")]
    path.write_bytes("3\t1\tx.jpg\n".encode("utf-16"))  # as PowerShell writes it
    with pytest.raises(DataError, match=r"a\.lst: expected a list in UTF-8, found one in UTF-16"):
        read_list(str(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5\tx.jpg", "expected KEY<tab>LABEL<tab>PATH, found '5.tx.jpg'"),
        ("x\t1\tx.jpg", "expected a whole number as the key, found 'x'"),
        ("-1\t1\tx.jpg", "expected a key from 0 to 2.63 - 1, found -1"),
        ("9\tcat\tx.jpg", r"expected numbers as the labels, found \['cat'\]"),
        ("9\tnan\tx.jpg", "expected labels that a record can hold, found nan, which is not a finite number"),
        (
            "9\t0\t-inf\tx.jpg",
            "expected labels that a record can hold, found -inf, which is not a finite number",
        ),
        (
            "9\t1e39\tx.jpg",
            "expected labels that a record can hold, found 1e39, which is out of float32's range",
        ),
        (
            "9\t16777217\tx.jpg",
            "expected labels that a record can hold, found 16777217, which becomes 16777216 in float32",
        ),
        ("3\t1\tx.jpg", "line 1 already has the key 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path: pathlib.Path, line: str, message: str) -> None:
    path = tmp_path / "a.lst"
    path.write_text(f"3\t1\ta.jpg\n\n{line}\n")
    with pytest.raises(DataError, match=f"a.lst: line 3: {message}"):
        read_list(str(path))


def test_an_empty_list_and_impossible_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.lst").write_text("\n")
    with pytest.raises(DataError, match="the list is empty"):
        read_list(str(tmp_path / "a.lst"))
    for name in ("a\tb.jpg", "a\nb.jpg", "a.jpg "):
        with pytest.raises(DataError, match="cannot hold this name"):
            format_list([Entry(0, (0.0,), name)])


def test_names_of_classes() -> None:
    def names(*paths: str) -> object:
        return class_names(list_by_folder(paths))

    assert names("cat/1", "cat/2", "dog/1") == ("cat", "dog")
    assert names("x/train/cat/1", "x/train/dog/1") == ("cat", "dog")
    assert names("x/cat/1") == ("cat",)
    assert names("cat/1", "cat/young/1") == ("cat", "cat/young")
    assert names("1", "2") is None
    assert names("1", "cat/1") is None
    assert class_names([Entry(0, (0.0,), "a/1"), Entry(1, (0.0,), "b/1")]) is None
    assert class_names([Entry(0, (0.0,), "a/1"), Entry(1, (1.0,), "a/2")]) is None
    assert class_names([Entry(0, (0.0,), "a/1"), Entry(1, (2.0,), "b/1")]) is None
    assert class_names([Entry(0, (0.0, 1.0), "a/1")]) is None
    assert class_names([Entry(0, (0.0,), "/a/1"), Entry(1, (1.0,), "b/1")]) is None
