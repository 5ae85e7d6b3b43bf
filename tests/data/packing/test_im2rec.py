"""tools/im2rec.py: one command from pictures to records, and MXNet's command line."""

from __future__ import annotations

import pathlib
import tarfile

import cv2
import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.image_list import read_list
from gluon_resnet.errors import DataError, UsageError
from tests.support import mxnet_im2rec
from tests.support.collections_of_pictures import files, im2rec
from tests.support.pictures import encode, picture


def test_from_a_folder_to_records(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    im2rec(tmp_path / "p", pets)
    said = capsys.readouterr().out
    assert "p.lst: a new list of 12 pictures in 3 classes\n" in said
    assert "p.rec: 12 records in 3 classes, 0.0 MB" in said
    assert "images/s, 0 skipped" in said
    assert sorted(files(tmp_path / "p")) == [".classes", ".idx", ".json", ".lst", ".rec"]
    assert (tmp_path / "p.classes").read_text() == "cat\ndog\nowl\n"
    entries = read_list(str(tmp_path / "p.lst"))
    file = RecordFile(tmp_path / "p.rec")
    assert [record.header.id for record in file] == [entry.key for entry in entries]
    for record, entry in zip(file, entries):
        assert record.header.label.tolist() == [["cat", "dog", "owl"].index(entry.path.split("/")[0])]
        expected = cv2.imread(str(pets / entry.path))
        _, jpeg = cv2.imencode(".jpg", expected, [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert record.payload == jpeg.tobytes()

    first = files(tmp_path / "p")
    im2rec(tmp_path / "p", pets)
    assert "p.lst: an existing list of 12 pictures" in capsys.readouterr().out
    assert files(tmp_path / "p") == first


def test_mxnets_iterator_reads_it(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    im2rec(tmp_path / "p", pets, "--resize", 24, "--center-crop", "--encoding", ".png")
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(tmp_path / "p.rec"),
        path_imgidx=str(tmp_path / "p.idx"),
        data_shape=(3, 24, 24),
        batch_size=12,
        preprocess_threads=1,
    )
    batch = iterator.next()
    records = list(RecordFile(tmp_path / "p.rec"))
    expected = np.stack([decode(record.payload).transpose(2, 0, 1) for record in records])
    np.testing.assert_array_equal(batch.data[0].asnumpy(), expected)
    assert batch.label[0].asnumpy().tolist() == [record.header.label[0] for record in records]


def test_archives_give_the_records_of_the_folder(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name, mode in [("pets.tar", "w"), ("pets.tar.gz", "w:gz")]:
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.add(pets, "pets")
    im2rec(tmp_path / "folder", pets)
    im2rec(tmp_path / "tar", tmp_path / "pets.tar")
    im2rec(tmp_path / "gz", tmp_path / "pets.tar.gz")
    folder, tar, gz = (files(tmp_path / name) for name in ("folder", "tar", "gz"))
    assert tar[".rec"] == folder[".rec"]
    assert tar[".idx"] == folder[".idx"]
    assert tar[".classes"] == gz[".classes"] == folder[".classes"]
    assert tar[".lst"].replace(b"pets/", b"") == folder[".lst"]
    # In its own order, and so is its list.
    keys = [record.header.id for record in RecordFile(tmp_path / "gz.rec")]
    assert keys == [entry.key for entry in read_list(str(tmp_path / "gz.lst"))]
    by_key = {r.header.id: r.payload for r in RecordFile(tmp_path / "folder.rec")}
    assert {r.header.id: r.payload for r in RecordFile(tmp_path / "gz.rec")} == by_key


def test_pictures_without_classes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        (tmp_path / "in" / f"{i}.JPG").write_bytes(encode(picture(9, 9, i)))
    im2rec(tmp_path / "p", tmp_path / "in", "--no-shuffle")
    assert not (tmp_path / "p.classes").exists()
    assert [record.header.label.tolist() for record in RecordFile(tmp_path / "p.rec")] == [[0]] * 3


def test_pictures_beside_class_folders(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (pets / "cover.jpg").write_bytes(encode(picture(9, 9)))
    with pytest.raises(DataError, match=r"has 1 pictures beside its class folders, such as cover\.jpg"):
        im2rec(tmp_path / "p", pets)
    im2rec(tmp_path / "p", pets, "--recursive")
    assert len(RecordFile(tmp_path / "p.rec")) == 13
    assert not (tmp_path / "p.classes").exists()  # one class has no name


def test_list_first_then_pack(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    im2rec(tmp_path / "p", pets, "--list", "--recursive", "--train-ratio", 0.75)
    assert sorted(path.name for path in tmp_path.glob("p*.lst")) == ["p_train.lst", "p_val.lst"]
    im2rec(tmp_path / "p", pets, "--pass-through")
    assert [len(RecordFile(tmp_path / f"p_{name}.rec")) for name in ("train", "val")] == [9, 3]
    for name in ("train", "val"):
        assert (tmp_path / f"p_{name}.classes").read_text() == "cat\ndog\nowl\n"

    capsys.readouterr()
    im2rec(tmp_path / "q", pets, "--list")  # MXNet would write an empty list
    assert "q.lst: 12 pictures in 3 classes" in capsys.readouterr().out
    (pets / "cover.jpg").write_bytes(b"")
    im2rec(tmp_path / "q", pets, "--list")
    said = capsys.readouterr().out
    assert (
        f"12 pictures in folders below {pets} are left out; give --recursive to list them as well\n" in said
    )
    assert "q.lst: 1 pictures\n" in said


def test_several_lists_in_one_command(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shape = ["--chunks", 2, "--train-ratio", 0.5, "--test-ratio", 0.34]
    im2rec(tmp_path / "p", pets, *shape)
    expected = {"p_0_train": 3, "p_0_test": 2, "p_0_val": 1, "p_1_train": 3, "p_1_test": 2, "p_1_val": 1}
    assert {path.stem: len(RecordFile(path)) for path in tmp_path.glob("*.rec")} == expected
    for name in expected:  # also where pictures of a class are missing
        assert (tmp_path / f"{name}.classes").read_text() == "cat\ndog\nowl\n"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    im2rec(tmp_path / "p", pets, *shape)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_lists_in_a_folder(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "out").mkdir()
    im2rec(tmp_path / "out", pets)  # without lists in it, it is a prefix like any other
    assert len(RecordFile(tmp_path / "out.rec")) == 12
    with pytest.raises(UsageError, match=r"expected a prefix, as in .*out/train, found the folder"):
        im2rec(f"{tmp_path / 'out'}/", pets)
    for name in ("a", "b"):
        (tmp_path / "out" / f"{name}.lst").write_text("5\t1\tcat/3.jpg\n")
    im2rec(tmp_path / "out", pets)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.rec")) == ["a.rec", "b.rec"]


@pytest.mark.parametrize(
    "flags",
    [
        "--pass-through",
        "",
        "--resize 20 --center-crop",
        "--resize 100 --quality 70",
        "--color 0",
        "--encoding .png",
        "--color -1 --encoding .png --quality 3",
        "--pack-label",
        "--pack-label --pass-through",
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_records_are_mxnets(pets: pathlib.Path, tmp_path: pathlib.Path, flags: str, threads: int) -> None:
    """Byte for byte, where both encode with the same version of libjpeg; else pixel for pixel, nearly."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    mxnet_im2rec.run(tmp_path / "theirs" / "p", pets, "--list", "--recursive")
    lines = (tmp_path / "theirs" / "p.lst").read_text().splitlines()
    for folder in ("theirs", "ours"):
        with open(tmp_path / folder / "p.lst", "w") as stream:
            stream.writelines(line.replace("\t", "\t0.5\t", i % 2) + "\n" for i, line in enumerate(lines))
    mxnet_im2rec.run(tmp_path / "theirs" / "p", pets, *flags.split())
    im2rec(tmp_path / "ours" / "p", pets, "--num-thread", threads, *flags.split())
    theirs, ours = (list(RecordFile(tmp_path / folder / "p.rec")) for folder in ("theirs", "ours"))
    assert len(ours) == len(theirs) == 12
    for our, their in zip(ours, theirs):
        np.testing.assert_array_equal(our.header.label, their.header.label)
        assert our.header[1:] == their.header[1:]
        if "--pass-through" in flags:
            assert our.payload == their.payload
        difference = decode(our.payload, "source").astype(int) - decode(their.payload, "source")
        assert np.abs(difference).max() <= (0 if ".png" in flags else 2)


def test_real_archives(real_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    im2rec(tmp_path / "cifar", real_data / "cifar10_test.tar.gz")
    im2rec(tmp_path / "imagenet", real_data / "imagenet_sample.tar", "--pass-through")
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert (tmp_path / "cifar.classes").read_text().split() == names
    labels = np.array([int(r.header.label[0]) for r in RecordFile(tmp_path / "cifar.rec")])
    assert np.bincount(labels).tolist() == [1000] * 10
    assert len(RecordFile(tmp_path / "imagenet.rec")) == 691
    for name in ("cifar", "imagenet"):
        im2rec(tmp_path / name, "--check")
