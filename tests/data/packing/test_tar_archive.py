"""Pictures in archives: the same as in the folder, and all that can be wrong with an archive."""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import tarfile
from typing import Optional

import pytest

from gluon_resnet.data.packing.image_list import class_names, list_by_folder
from gluon_resnet.data.packing.sources import Folder
from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.errors import DataError, ImageError
from tests.support.collections_of_pictures import contents, write_tar, write_tree


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_read_as_the_folder(tmp_path: pathlib.Path, mode: str, form: int) -> None:
    tree = write_tree(tmp_path / "tree")
    with tarfile.open(tmp_path / "t", mode, format=form) as tar:
        tar.add(tree / "dog", "./dog")  # another order than the folder's
        tar.add(tree, ".", filter=lambda info: None if "dog" in info.name else info)
    archive = TarArchive(str(tmp_path / "t"))
    paths = Folder(str(tree)).survey().paths
    assert archive.survey().paths == paths
    assert archive.ordered == (mode == "w:gz")
    entries = list_by_folder(paths)
    source = archive.source(entries)
    assert contents(source) == {path: path.encode() for path in paths}
    assert contents(source) == contents(Folder(str(tree)).source(entries))
    if archive.ordered:
        assert source.entries[0].path == "dog/1.png"
    else:
        assert source.entries == entries


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path: pathlib.Path, mode: str, form: int) -> None:
    name = "ü" * 70 + "/" + "b" * 200 + ".jpg"
    archive = TarArchive(write_tar(tmp_path / "t", {name: b"long", "c.jpg": b"short"}, mode, format=form))
    assert archive.survey().paths == ["c.jpg", name]
    assert archive.read(name) == b"long"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_of_tars(tmp_path: pathlib.Path, mode: str) -> None:
    files = {}
    for wnid in ("n02", "n01"):
        inner = {f"{wnid}_{i}.JPEG": f"{wnid} {i}".encode() * 100 for i in range(3)}
        files[wnid + ".tar"] = pathlib.Path(write_tar(tmp_path / "inner", inner)).read_bytes()
    archive = TarArchive(write_tar(tmp_path / "t", files, mode))
    paths = archive.survey().paths
    assert paths == [f"{wnid}/{wnid}_{i}.JPEG" for wnid in ("n01", "n02") for i in range(3)]
    entries = list_by_folder(paths)
    assert class_names(entries) == ("n01", "n02")
    expected = {f"{w}/{w}_{i}.JPEG": f"{w} {i}".encode() * 100 for w in ("n01", "n02") for i in range(3)}
    assert contents(archive.source(entries)) == expected


def test_links(tmp_path: pathlib.Path) -> None:
    with tarfile.open(tmp_path / "t", "w") as tar:
        info = tarfile.TarInfo("a/1.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
        for name, kind, target in [
            ("b/1.jpg", tarfile.LNKTYPE, "a/1.jpg"),
            ("b/2.jpg", tarfile.SYMTYPE, "../a/1.jpg"),
            ("b/3.jpg", tarfile.SYMTYPE, "2.jpg"),
            ("b/4.jpg", tarfile.SYMTYPE, "/elsewhere.jpg"),
            ("b/5.jpg", tarfile.SYMTYPE, "5.jpg"),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 4 if kind == tarfile.LNKTYPE else 0  # as some old writers do
            tar.addfile(info)
    archive = TarArchive(str(tmp_path / "t"))
    read = contents(archive.source(list_by_folder([*archive.survey().paths, "c/none.jpg"])))
    assert [read[f"{name}.jpg"] for name in ("a/1", "b/1", "b/2", "b/3")] == [b"data"] * 4
    assert "a link to /elsewhere.jpg, which does not exist" in str(read["b/4.jpg"])
    assert isinstance(read["b/5.jpg"], ImageError)
    assert "there is no such member" in str(read["c/none.jpg"])


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_archives(tmp_path: pathlib.Path, compressed: bool) -> None:
    path = tmp_path / "t"
    write_tar(path, {"a/1.jpg": os.urandom(3000), "a/2.jpg": os.urandom(3000)})
    whole = path.read_bytes()

    def failure(data: bytes, cut: Optional[int] = None) -> str:
        path.write_bytes((gzip.compress(data) if compressed else data)[:cut])
        with pytest.raises(DataError) as caught:
            TarArchive(str(path))
        assert caught.value.path == str(path)
        return str(caught.value)

    assert "cut short" in failure(whole[:4000])
    assert "cut short" in failure(whole[: 512 + 3072])  # at the end of a member
    torn = whole[:3600] + b"xxxx" + whole[3604:]
    assert "at offset 3584: expected a member of a tar archive" in failure(torn)
    assert "not a tar archive, or not a complete one: invalid header" in failure(b"no tar archive" * 100)
    if compressed:
        assert "not a complete gzip file" in failure(whole, cut=-100)
        path.write_bytes(b"\x1f\x8bnonsense")
        with pytest.raises(DataError, match="not a complete gzip file"):
            TarArchive(str(path))


def test_a_pipe_is_no_archive(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: expected a regular file, found a pipe"):
        TarArchive(str(tmp_path / "pipe"))
