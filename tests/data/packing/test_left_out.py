"""What packing leaves out: hidden and system names, other formats, links in circles; all of it told and counted."""

from __future__ import annotations

import bz2
import lzma
import os
import pathlib
import tarfile
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from gluon_resnet.data import RecordFile
from gluon_resnet.data.packing.left_out import LeftOut
from gluon_resnet.data.packing.sources import Collection, Folder
from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.errors import DataError
from tests.support.collections_of_pictures import im2rec, write_tar, write_tree
from tests.support.pictures import encode, picture

Capture = pytest.CaptureFixture[str]

HIDDEN = [
    ".ipynb_checkpoints/1.jpg",
    ".ipynb_checkpoints/2.jpg",
    "@eaDir/1.jpg",
    "__MACOSX/cat/1.jpg",
    "$RECYCLE.BIN/1.jpg",
    "lost+found/1.jpg",
    "cat/._1.jpg",
    "cat/@eaDir/1.jpg",
    "cat/.hidden/deep/1.jpg",
    "Thumbs.db",
]


def collections(tmp_path: pathlib.Path, names: Sequence[str]) -> list[Collection]:
    """The same files in a folder and in archives."""
    tree = write_tree(tmp_path / "tree", list(names))
    made: list[Collection] = [Folder(str(tree))]
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        with tarfile.open(tmp_path / "t", mode) as tar:
            tar.add(tree, ".")
        made.append(TarArchive(str(tmp_path / "t")))
    return made


def test_hidden_and_system_names_are_no_classes(tmp_path: pathlib.Path) -> None:
    for collection in collections(tmp_path, [*HIDDEN, "cat/1.jpg", "dog/..jpg.png", "dog/a..jpg"]):
        paths, left_out = collection.survey()
        assert paths == ["cat/1.jpg", "dog/a..jpg"]
        assert left_out.hidden == [
            *("$RECYCLE.BIN", ".ipynb_checkpoints", "@eaDir", "Thumbs.db", "__MACOSX", "cat/._1.jpg"),
            *("cat/.hidden", "cat/@eaDir", "dog/..jpg.png", "lost+found"),
        ]
        assert not left_out.without
        (line,) = left_out.lines()
        assert line.startswith(
            "left out: 10 hidden or system names ($RECYCLE.BIN, .ipynb_checkpoints, @eaDir"
        )
        assert line.endswith("and 2 more)")


def test_other_endings_are_counted_and_empty_classes_told(tmp_path: pathlib.Path) -> None:
    names = [f"a/{i}.heic" for i in range(3)] + ["b/x.GIF", "b/y.gif", "b/README", "c/deep/1.jpg", "c/1.txt"]
    for collection in collections(tmp_path, [*names, "\x1b[31m/1.\x07"]):
        paths, left_out = collection.survey()
        assert paths == ["c/deep/1.jpg"]
        assert list(left_out.lines()) == [
            "left out: 8 files with other endings (3 .heic, 2 .gif, 1 without an ending, 1 .\\u0007, 1 .txt); "
            "choose the endings with --exts",
            "left out: 3 folders without a picture that is taken, and thus not classes (\\u001b[31m, a, b)",
        ]
    (tmp_path / "tree" / "empty").mkdir()
    assert Folder(str(tmp_path / "tree")).survey().left_out.without == ["\x1b[31m", "a", "b", "empty"]


def test_the_summary_counts_them(tmp_path: pathlib.Path, capsys: Capture) -> None:
    """What every OpenCV decodes is taken; with --pass-through only what a record may hold."""
    for i, ending in enumerate(["jpg", "jpe", "jfif", "png", "bmp", "tif", "webp", "gif"]):
        path = tmp_path / "in" / "cat" / f"{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpe": "jpg", "jfif": "jpg", "gif": "png"}.get(ending, ending)
        path.write_bytes(cv2.imencode(f".{kind}", np.full((9, 9, 3), i, np.uint8))[1].tobytes())
    im2rec(tmp_path / "p", tmp_path / "in")
    said = capsys.readouterr().out
    assert "left out: 1 file with other endings (1 .gif); choose the endings with --exts\n" in said
    assert "p.rec: 7 records in 1 classes" in said
    assert said.endswith(f"{tmp_path / 'in'}: 1 left out, as listed above\n")
    im2rec(tmp_path / "q", tmp_path / "in", "--pass-through")
    assert "(1 .bmp, 1 .gif, 1 .tif, 1 .webp)" in capsys.readouterr().out
    assert len(RecordFile(tmp_path / "q.rec")) == 4
    im2rec(tmp_path / "q", tmp_path / "in", "--pass-through", "--exts", "gif")
    assert len(RecordFile(tmp_path / "q.rec")) == 1


def test_links_in_archives_lead_to_files_only(tmp_path: pathlib.Path) -> None:
    write_tree(tmp_path / "in", ["a/1.jpg", "b/1.txt"])
    for name, target in (
        ("a/2.jpg", "1.jpg"),
        ("a/up", ".."),
        ("b/a", "../a"),
        ("b/2.txt", "1.txt"),
        (".x", "a"),
    ):
        (tmp_path / "in" / name).symlink_to(target)
    os.mkfifo(tmp_path / "in" / "a" / "pipe.jpg")
    with tarfile.open(tmp_path / "t", "w") as tar:
        tar.add(tmp_path / "in", ".")
    paths, left_out = TarArchive(str(tmp_path / "t")).survey()
    assert paths == ["a/1.jpg", "a/2.jpg"]
    assert left_out == LeftOut({".txt": 2}, [".x"], ["a/up", "b/a"], ["a/pipe.jpg"], ["b"])


def links(left_out: LeftOut) -> tuple[list[str], list[str]]:
    return list(left_out.links), list(left_out.unreadable)


def test_links_to_folders_above_end(tmp_path: pathlib.Path, capsys: Capture) -> None:
    for name in ("above/in/a/1.jpg", "above/in/b/1.jpg", "above/beside/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(picture(9, 9)))
    root = tmp_path / "above" / "in"
    for folder, target in (("a", ".."), ("b", ".."), ("b", "../.."), ("b", "../a"), ("a", "/")):
        (root / folder / f"to{len(os.listdir(root / folder))}").symlink_to(target)
    paths, left_out = Folder(str(root)).survey()
    assert paths == ["a/1.jpg", "b/1.jpg"]
    assert links(left_out) == (["a/to1", "a/to2", "b/to1", "b/to2", "b/to3"], [])
    im2rec(tmp_path / "p", root)
    assert (
        "left out: 5 links to folders that are reached another way or contain the root (a/to1,"
        in capsys.readouterr().out
    )
    assert (tmp_path / "p.classes").read_text() == "a\nb\n"


def test_every_folder_is_taken_once_whatever_leads_to_it(tmp_path: pathlib.Path) -> None:
    """A folder itself, and of links to one outside the first by name; in circles, too."""
    write_tree(tmp_path / "outside", ["cats/1.jpg", "cats/young/2.jpg", "dogs/1.jpg"])
    write_tree(tmp_path / "in", ["real/1.jpg", "z/1.jpg"])
    for name, target in (
        ("aaa", "real"),  # comes before `real`, and does not stand in for it
        ("zzz", "../outside/cats"),
        ("yyy", "../outside/cats"),
        ("dogs", "../outside/dogs"),
        ("broken", "nowhere"),
        ("self", "self"),
        ("z/link.jpg", "1.jpg"),
        ("all", "../outside"),  # `all` is taken first, and what it holds with it
    ):
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "outside" / "cats" / "back").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "in" / "z" / "pipe.jpg")
    paths, left_out = Folder(str(tmp_path / "in")).survey()
    assert paths == [
        *("all/cats/1.jpg", "all/cats/young/2.jpg", "all/dogs/1.jpg"),
        *("real/1.jpg", "z/1.jpg", "z/link.jpg"),
    ]
    assert links(left_out) == (
        ["aaa", "all/cats/back", "dogs", "yyy", "zzz"],
        ["broken", "self", "z/pipe.jpg"],
    )
    (tmp_path / "in" / "all").unlink()
    paths, left_out = Folder(str(tmp_path / "in")).survey()
    assert [path for path in paths if "outside" in os.path.realpath(tmp_path / "in" / path)] == [
        *("dogs/1.jpg", "yyy/1.jpg", "yyy/young/2.jpg"),
    ]
    assert links(left_out)[0] == ["aaa", "yyy/back/cats", "yyy/back/dogs", "zzz"]
    assert not left_out.without or left_out.without == ["yyy/back"]


def test_a_folder_that_cannot_be_read_is_no_empty_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "in", ["a/1.jpg", "b/1.jpg"])
    scandir = os.scandir

    def refusing(path: str) -> object:  # root may read all
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        Folder(str(tmp_path / "in")).survey()


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_other_compressions(tmp_path: pathlib.Path, compress: object) -> None:
    data = pathlib.Path(write_tar(tmp_path / "t", {"a/1.jpg": os.urandom(5000)})).read_bytes()
    whole = compress(data)  # type: ignore[operator]
    for wrong in (whole[:4000], whole[:2000], whole[:1000] + os.urandom(200) + whole[1200:]):
        (tmp_path / "t").write_bytes(wrong)
        with pytest.raises(DataError, match=r"t: (not a complete (bzip2|xz) file|.*cut short)"):
            TarArchive(str(tmp_path / "t")).read("a/1.jpg")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "a zip archive; unpack it with unzip, and pack the folder"),
        (b"\x28\xb5\x2f\xfd", "compressed by Zstandard; decompress it with zstd -d"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"\x0a\x23\xd7\xce", "a record file, for which there are --check"),
        (b"\xff\xd8\xff\xe0", "a JPEG image; give the folder"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: pathlib.Path, start: bytes, what: str) -> None:
    (tmp_path / "t").write_bytes(start + bytes(2000))
    with pytest.raises(DataError, match=f"t: expected a folder or a tar archive, found {what}"):
        TarArchive(str(tmp_path / "t"))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def test_headers_cost_no_more_than_the_archive(tmp_path: pathlib.Path) -> None:
    """A name of a terabyte, a member of an exabyte, and archives in archives without an end."""
    nested = write_tar(tmp_path / "inner", {"1.jpg": b"data"})
    for _ in range(12):
        nested = write_tar(tmp_path / "inner", {"n.tar": pathlib.Path(nested).read_bytes()})
    for data, message in (
        (header("x", 1 << 40, tarfile.GNUTYPE_LONGNAME), "a header has 1099511627776 bytes; at most"),
        (header("x", 1 << 40, tarfile.XHDTYPE), "a header has 1099511627776 bytes; at most"),
        (header("x.jpg", 1 << 62), "a header points to the impossible offset"),
        (pathlib.Path(nested).read_bytes(), "more than 8 tar archives are nested in one another"),
    ):
        (tmp_path / "t").write_bytes(data + bytes(1024))
        with pytest.raises(DataError, match=message):
            TarArchive(str(tmp_path / "t"))
