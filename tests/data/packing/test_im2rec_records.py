"""tools/im2rec.py on record files that are there: joining, unpacking and salvaging them, and what it refuses."""

from __future__ import annotations

import os
import pathlib
import random
import re
import struct

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.im2rec import main
from gluon_resnet.cli.im2rec.options import parse
from gluon_resnet.data import RecordFile
from gluon_resnet.data.packing.image_list import read_list
from gluon_resnet.data.packing.pack import PackOptions, pack
from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.errors import DataError, RecordError, UsageError
from tests.support import oracle
from tests.support.collections_of_pictures import Pictures, files, im2rec, jpegs
from tests.support.pictures import encode, picture

Capture = pytest.CaptureFixture[str]
MAGIC = struct.pack("<I", oracle.MAGIC)


def write_records(prefix: pathlib.Path, *items: object, **attributes: object) -> pathlib.Path:
    """PREFIX.rec of these items, as they are."""
    options = PackOptions(pass_through=True, verify=False, pack_label=True)
    pack(Pictures(*items, **attributes), str(prefix), options)  # type: ignore[arg-type]
    return prefix.with_name(prefix.name + ".rec")


def content(path: pathlib.Path) -> list[tuple[int, list[float], bytes]]:
    return [(header.id, header.label.tolist(), payload) for header, payload in RecordFile(path)]


def test_join_counts_the_keys_anew(pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    for name in ("a", "b"):
        im2rec(tmp_path / name, pets, *(["--no-shuffle"] if name == "a" else []))
    before = {path: path.read_bytes() for path in tmp_path.glob("[ab].*")}
    im2rec("--join", tmp_path / "new" / "both", tmp_path / "a.rec", tmp_path / "b")
    assert "both.rec: 24 records in 3 classes of 2 files, keys from 0 to 23\n" in capsys.readouterr().out
    assert sorted(files(tmp_path / "new" / "both")) == [".classes", ".idx", ".lst", ".rec"]
    expected = content(tmp_path / "a.rec") + content(tmp_path / "b.rec")
    both = tmp_path / "new" / "both.rec"
    assert content(both) == [(key, *record[1:]) for key, record in enumerate(expected)]
    im2rec(both, "--check")
    entries = read_list(str(tmp_path / "new" / "both.lst"))
    listed = read_list(str(tmp_path / "a.lst")) + read_list(str(tmp_path / "b.lst"))
    assert [entry[1:] for entry in entries] == [entry[1:] for entry in listed]
    assert [entry.key for entry in entries] == list(range(24))
    assert {path: path.read_bytes() for path in tmp_path.glob("[ab].*")} == before
    theirs = mx.recordio.MXIndexedRecordIO(str(both.with_suffix(".idx")), str(both), "r")
    assert mx.recordio.unpack(theirs.read_idx(23))[1] == expected[23][2]

    (tmp_path / "b.lst").unlink()
    im2rec(tmp_path / "c", "--join", tmp_path / "a", tmp_path / "b", tmp_path / "a")
    assert "c.lst: not written, since not every file has a list of all its records" in capsys.readouterr().out
    assert not (tmp_path / "c.lst").exists()
    assert len(RecordFile(tmp_path / "c.rec")) == 36


def test_join_refuses_what_does_not_belong_together(tmp_path: pathlib.Path) -> None:
    image = jpegs(1)[0]
    a = write_records(tmp_path / "a", image, image, classes=("cat", "dog"))
    longer = write_records(tmp_path / "longer", image, classes=("cat", "dog", "owl"))
    for name, message, attributes in (
        (
            "other",
            r"longer|other.*: label 1 is the class 'd\\x1bg' here and 'dog' in",
            {"classes": ("cat", "d\x1bg")},
        ),
        ("unnamed", r"unnamed\.rec: has no class names to compare with those of .*a\.rec; if its", {}),
    ):
        b = write_records(tmp_path / name, image, **attributes)
        with pytest.raises(DataError, match=message):
            main([str(tmp_path / "new"), "--join", str(a), str(b)])
    wide = write_records(tmp_path / "wide", Picture(0, (1.0, 2.0), "x", image), classes=("cat", "dog"))
    with pytest.raises(
        DataError,
        match=r"expected the same number of labels in all files, found 1 in .* and 2 in .*wide\.rec",
    ):
        main([str(tmp_path / "new"), "--join", str(a), str(wide)])
    lists = write_records(
        tmp_path / "lists", Picture(0, (2.0, 3.0), "x", b""), image, Picture(2, (1.0, 2.0), "y", b"")
    )
    with pytest.raises(DataError, match=r"lists\.rec: cannot be joined: it has records that are lists"):
        main([str(tmp_path / "new"), "--join", str(a), str(lists)])
    cut = tmp_path / "cut.rec"
    cut.write_bytes(a.read_bytes()[:-8])
    with pytest.raises(RecordError, match="cut short"):
        main([str(tmp_path / "new"), "--join", str(a), str(cut)])
    assert not list(tmp_path.glob("new*"))
    im2rec(tmp_path / "new", "--join", a, longer)
    assert (tmp_path / "new.classes").read_text() == "cat\ndog\nowl\n"


def test_nothing_that_is_there_is_written_over(tmp_path: pathlib.Path) -> None:
    """Least of all a source: ``--join A.rec B.rec C.rec`` has forgotten the new file's name."""
    paths = [str(write_records(tmp_path / name, *jpegs(2))) for name in "abc"]
    (tmp_path / "only.classes").write_text("cat\n")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for arguments, message in (
        (["--join", *paths], r"a\.rec: this file already exists; choose another prefix"),
        ([str(tmp_path / "only"), "--join", *paths], r"only\.classes: this file already exists"),
        (["--salvage", paths[0], paths[0]], r"a\.rec: this file already exists"),
        (
            ["--salvage", paths[0], str(tmp_path / "folder")],
            "expected the prefix of new files, found a folder",
        ),
        (
            ["--unpack", paths[0], str(tmp_path)],
            "expected a new or empty folder to unpack to, found one with files, or a file",
        ),
        (
            ["--unpack", paths[0], paths[1]],
            "expected a new or empty folder to unpack to, found one with files, or a file",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            main(arguments)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("p a --join --resize 5", "--resize: not allowed with --join"),
        (
            "p a b --join --pass-through --num-thread 2",
            "--num-thread and --pass-through: not allowed with --join",
        ),
        ("p --check --quality 5", "--quality: not allowed with --check"),
        ("p --rebuild-index --num-thread 2", "--num-thread: not allowed with --rebuild-index"),
        ("p a --unpack --exts png", "--exts: not allowed with --unpack"),
        ("p a --salvage --no-verify", "--no-verify: not allowed with --salvage"),
        ("p a --list --resize 4 --center-crop", "--center-crop and --resize: not allowed with --list"),
        (
            "p a --pass-through --resize 4",
            "--resize: not allowed with --pass-through, which stores the files as",
        ),
        ("p a --no-verify", "--no-verify requires --pass-through"),
        ("p a --test-ratio 0.5", "--test-ratio: expected a --train-ratio below 1 with it"),
        ("p a --source cifar10 --no-shuffle", "--source cifar10 has no lists"),
        ("p a --join", "--join: expected PREFIX and at least two record files"),
        ("p --unpack", "the following arguments are required: the folder to make"),
        ("p --salvage", "the following arguments are required: the prefix of the new file"),
        ("p a b", "unrecognized arguments: b"),
        ("p a --check", "unrecognized arguments: a"),
        ("p a --join --unpack", "not allowed with argument"),
    ],
)
def test_options_that_mean_nothing_together(capsys: Capture, arguments: str, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_options_may_stand_anywhere(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    im2rec(tmp_path / "p", "--resize", 9, pets, "--quality", 95)
    assert len(RecordFile(tmp_path / "p.rec")) == 12


def test_unpacked_and_packed_again_it_is_the_same(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    im2rec(tmp_path / "p", pets, "--pass-through")
    im2rec("--unpack", tmp_path / "p", tmp_path / "out")
    said = capsys.readouterr().out
    assert f"{tmp_path / 'out'}: 12 images in 3 folders of {tmp_path / 'p.rec'}\n" in said
    assert "other labels" not in said
    for entry in read_list(str(tmp_path / "p.lst")):
        folder, name = entry.path.split("/")
        unpacked = tmp_path / "out" / folder / f"{entry.key:02}{os.path.splitext(name)[1]}"
        assert unpacked.read_bytes() == (pets / entry.path).read_bytes()
    assert sum(len(names) for _, _, names in os.walk(tmp_path / "out")) == 12
    im2rec(tmp_path / "again", tmp_path / "out", "--pass-through")
    assert (tmp_path / "again.classes").read_bytes() == (tmp_path / "p.classes").read_bytes()
    again = sorted(record[1:] for record in content(tmp_path / "again.rec"))
    assert again == sorted(record[1:] for record in content(tmp_path / "p.rec"))
    (tmp_path / "empty").mkdir()
    im2rec(tmp_path / "p", "--unpack", tmp_path / "empty")
    assert sorted(os.listdir(tmp_path / "empty")) == ["cat", "dog", "owl"]


def test_no_class_leads_out_of_the_folder(tmp_path: pathlib.Path) -> None:
    """Nor into a hidden one, nor into another class."""
    names = (
        *(
            "..",
            "../up",
            "/etc/x",
            ".hidden",
            "a/../../b",
            "",
            "back\\slash",
            "\x1b[31m",
            "50%",
            "50%25",
            "%2E%2E",
        ),
        *("deep/er", "deep", "@eaDir", " blank ", "ä ö", ".", "CON\0"),
    )
    path = write_records(
        tmp_path / "p", *(Picture(i, (float(i),), "x", b"any") for i in range(len(names))), classes=names
    )
    im2rec("--unpack", path, tmp_path / "in" / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "p.classes", "p.idx", "p.rec"]
    assert os.listdir(tmp_path / "in") == ["out"]
    found = {
        f.stem: f.relative_to(tmp_path / "in" / "out").parent
        for f in (tmp_path / "in" / "out").rglob("*.bin")
    }
    assert [str(found[f"{i:02}"]) for i in range(len(names))] == [
        *(
            "%2E.",
            "%2E./up",
            "%/etc/x",
            "%2Ehidden",
            "a/%2E./%2E./b",
            "%",
            "back%5Cslash",
            "%1B[31m",
            "50%25",
        ),
        *("50%2525", "%252E%252E", "deep/er", "deep", "%40eaDir", "%20blank%20", "ä ö", "%2E", "CON%00"),
    ]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (("cat", "cat"), (0, 1), "labels 0 and 1 have the same name, cat"),
        (("c" * 300,), (0,), "this class name is too long for a folder: ccc"),
        (("cat",), (0, 1), "key 1: expected one of 1 classes, found label 1"),
        (("cat",), (0, 0.5), "key 1: expected one of 1 classes, found label 0.5"),
        (("cat",), (0, float("nan")), "key 1: expected one of 1 classes, found label nan"),
        (("cat", "cat/0.bin"), (0, 1), "two images, or an image and a class, have the same name"),
        (("cat", "cat/1.bin"), (1, 0), "two images, or an image and a class, have the same name"),
    ],
)
def test_what_cannot_be_unpacked_leaves_nothing(
    tmp_path: pathlib.Path, names: tuple[str, ...], labels: tuple[float, ...], message: str
) -> None:
    items = (Picture(i, (float(label),), "x", b"any") for i, label in enumerate(labels))
    path = write_records(tmp_path / "p", *items, classes=names)
    with pytest.raises(DataError, match=message):
        main([str(path), "--unpack", str(tmp_path / "out")])
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "p.classes").unlink()
    if len(set(labels)) == len(labels):
        im2rec(path, "--unpack", tmp_path / "out")
        assert len(os.listdir(tmp_path / "out")) == len(labels)
        (tmp_path / "new.partial").mkdir()
        with pytest.raises(
            UsageError, match=r"new\.partial: this folder was left by a run that was interrupted"
        ):
            main([str(path), "--unpack", str(tmp_path / "new")])


@pytest.mark.parametrize(
    ("names", "labels", "told"),
    [
        (("dog", "cat"), [0, 1], True),
        (("cat", "dog"), [0, 1], False),
        (("cat", "dog", "owl"), [0, 2], True),  # a part without one of the classes
        ((), [0, 1, 2], False),
        ((), range(11), True),  # "10" comes before "2"
        ((), [0.5, 1.5], True),
    ],
)
def test_unpacked_classes_that_get_other_labels(
    tmp_path: pathlib.Path, capsys: Capture, names: tuple[str, ...], labels: list[float], told: bool
) -> None:
    items = (Picture(i, (float(label),), "x", jpegs(1)[0]) for i, label in enumerate(labels))
    path = write_records(tmp_path / "p", *items, classes=names or None)
    im2rec(path, "--unpack", tmp_path / "out")
    assert ("packed again, its classes get other labels" in capsys.readouterr().out) == told
    im2rec(tmp_path / "q", tmp_path / "out", "--list", "--recursive")
    again = {int(pathlib.Path(path).stem): label for _, (label,), path in read_list(str(tmp_path / "q.lst"))}
    assert (again != dict(enumerate(labels))) == told


def test_unpack_leaves_out_records_that_are_no_images(tmp_path: pathlib.Path, capsys: Capture) -> None:
    path = write_records(
        tmp_path / "p", Picture(0, (2.0, 3.0), "x", b""), jpegs(1)[0], Picture(2, (1.0, 2.0), "y", b"")
    )
    im2rec(path, "--unpack", tmp_path / "out")
    assert "1 images in 1 folders of" in capsys.readouterr().out
    assert [str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*.*")] == ["1/1.jpg"]


def damaged(tmp_path: pathlib.Path) -> tuple[pathlib.Path, list[int], list[tuple[int, list[float], bytes]]]:
    """A file whose records have magic numbers in them, several labels and empty images; offsets and records."""
    image = encode(picture(40, 40))
    items = [
        Picture(5, (1.0,), "x", image),
        Picture(7, (1.0, 2.0, 3.0), "x", MAGIC * 3 + image + MAGIC),
        Picture(2, (4.0,), "x", b""),
        Picture(1 << 40, (0.5,), "x", b"\0" + MAGIC + image),
        *(Picture(100 + i, (float(i),), "x", image[: 50 + i]) for i in range(6)),
    ]
    path = write_records(tmp_path / "p", *items, classes=("a", "b"))
    file = RecordFile(path)
    offsets = [*(file.offset(i) for i in range(len(file))), os.path.getsize(path)]
    (tmp_path / "p.idx").unlink()
    return path, offsets, content(path)


def test_salvage_of_a_cut_file(tmp_path: pathlib.Path, capsys: Capture) -> None:
    """Wherever it is cut: all records before, and where the rest began."""
    path, offsets, records = damaged(tmp_path)
    data = path.read_bytes()
    rng = random.Random(0)
    cuts = [
        *offsets[1:],
        *(end - 8 for end in offsets[2:]),
        *(rng.randrange(offsets[1], len(data)) for _ in range(20)),
    ]
    for number, cut in enumerate(cuts):
        if any(0 < end - cut < 4 for end in offsets):  # only padding is missing: none of the record
            continue
        path.write_bytes(data[:cut])
        im2rec("--salvage", path, tmp_path / f"s{number}")
        whole = max(i for i, offset in enumerate(offsets) if offset <= cut)
        assert content(tmp_path / f"s{number}.rec") == records[:whole]
        assert (tmp_path / f"s{number}.classes").read_text() == "a\nb\n"
        captured = capsys.readouterr()
        if cut > offsets[whole]:
            assert captured.err.startswith(f"{path}: at offset {offsets[whole]}: ")
            sizes = re.findall("([0-9,]+) bytes are lost", captured.err)
            assert sum(int(size.replace(",", "")) for size in sizes) == cut - offsets[whole]
        else:
            assert captured.out.endswith("nothing lost\n")
        assert path.read_bytes() == data[:cut]


@pytest.mark.parametrize("lost", [0, 1, 3, 9])
@pytest.mark.parametrize("harm", ["magic", "shorter", "longer", "flag", "labels", "zeros"])
def test_salvage_goes_on_behind_damage(tmp_path: pathlib.Path, capsys: Capture, lost: int, harm: str) -> None:
    path, offsets, records = damaged(tmp_path)
    data = bytearray(path.read_bytes())
    at, end = offsets[lost], offsets[lost + 1]
    (lrec,) = struct.unpack_from("<I", data, at + 4)
    if harm == "magic":
        data[at] ^= 1
    elif harm == "flag":
        struct.pack_into("<I", data, at + 4, lrec ^ (2 << 29))
    elif harm == "labels":
        struct.pack_into("<I", data, at + 8, 1 << 31)
    elif harm == "zeros":
        data[at:end] = bytes(end - at)
    else:
        struct.pack_into("<I", data, at + 4, max(lrec + (8 if harm == "longer" else -8), 0))
    path.write_bytes(data)
    im2rec(path, "--salvage", tmp_path / "s")
    kept = content(tmp_path / "s.rec")
    told = capsys.readouterr()
    if (
        harm == "shorter" and lost != 1
    ):  # a shorter image cannot be told from a whole one, but for what is left of it
        assert [record for i, record in enumerate(kept) if i != lost] == records[:lost] + records[lost + 1 :]
        assert "expected the magic number of a record, found 0x" in told.err
    else:
        assert kept == records[:lost] + records[lost + 1 :]
        assert told.err.startswith(f"{path}: at offset {at}: ")
    assert "whole records of" in told.out


def test_salvage_names_all_that_is_lost(tmp_path: pathlib.Path, capsys: Capture) -> None:
    path = write_records(tmp_path / "p", *jpegs(60))
    file = RecordFile(path)
    data = bytearray(path.read_bytes())
    for i in range(0, 60, 2):
        data[file.offset(i)] ^= 255
    path.write_bytes(data)
    im2rec("--salvage", path, tmp_path / "s")
    assert len(RecordFile(tmp_path / "s.rec")) == 30
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 21
    assert told[-1] == f"and 10 more; they are all in {tmp_path / 's.errors.txt'}"
    lines = (tmp_path / "s.errors.txt").read_text().splitlines()
    assert [int(line.split("at offset ")[1].split(":")[0]) for line in lines] == [
        file.offset(i) for i in range(0, 60, 2)
    ]


@pytest.mark.parametrize("data", [b"", b"abc", b"no records" * 1000, MAGIC, MAGIC * 1000, bytes(4096)])
def test_salvage_where_nothing_is_whole(tmp_path: pathlib.Path, data: bytes) -> None:
    (tmp_path / "p.rec").write_bytes(data)
    with pytest.raises(RecordError, match=r"p\.rec: the file has no intact record"):
        main(["--salvage", str(tmp_path / "p"), str(tmp_path / "s")])
    assert not list(tmp_path.glob("s*"))


def test_salvage_counts_where_ids_are_not_unique(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "p", *jpegs(3))
    path.write_bytes(path.read_bytes() * 2)
    (tmp_path / "p.idx").unlink()
    im2rec("--salvage", path, tmp_path / "s")
    assert [header.id for header, _ in RecordFile(tmp_path / "s.rec")] == list(range(6))


def test_every_example_of_the_help_can_be_typed(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    examples = re.findall(r"^  python3 .*im2rec\.py (.*)$", capsys.readouterr().out, re.MULTILINE)
    modes = {parse(example.split()).mode for example in examples}
    assert modes == {"pack", "list", "check", "rebuild_index", "join", "unpack", "salvage"}


def test_what_a_killed_rebuilding_left_is_removed(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "p", *jpegs(3))
    (tmp_path / "p.idx").unlink()
    os.utime(path, (1, 1))
    for name in (".p.idx.abcd_012.tmp", ".p.rec.idx-cache.abcd_012.tmp"):
        (tmp_path / name).write_bytes(b"0\t")
    RecordFile(path)
    assert sorted(os.listdir(tmp_path)) == [".p.idx.abcd_012.tmp", "p.rec", "p.rec.idx-cache"]
    im2rec(path, "--rebuild-index")
    assert sorted(os.listdir(tmp_path)) == ["p.idx", "p.rec", "p.rec.idx-cache"]
