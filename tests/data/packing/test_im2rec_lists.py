"""tools/im2rec.py: which lists it takes, and that none is taken for what it is not."""

from __future__ import annotations

import fcntl
import pathlib
import shutil

import pytest

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data import RecordFile
from gluon_resnet.data.packing.image_list import read_list
from gluon_resnet.errors import DataError, UsageError
from tests.support import mxnet_im2rec
from tests.support.collections_of_pictures import files, im2rec
from tests.support.pictures import encode, picture

Capture = pytest.CaptureFixture[str]


def records(prefix: pathlib.Path) -> int:
    return len(RecordFile(f"{prefix}.rec"))


def add(root: pathlib.Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(picture(20, 20)))


@pytest.fixture
def fox(tmp_path: pathlib.Path) -> pathlib.Path:
    """Another data set, of one picture."""
    add(tmp_path / "fox", "fox/1.jpg")
    return tmp_path / "fox"


@pytest.mark.parametrize("name", ["p2", "p_val", "p_0", "p_train_val", "p.x"])
@pytest.mark.parametrize("old", [False, True])  # as of a version that wrote no origins
def test_a_longer_prefix_is_another_data_set(
    pets: pathlib.Path, fox: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, name: str, old: bool
) -> None:
    im2rec(tmp_path / name, pets)
    if old:
        (tmp_path / f"{name}.lst.json").unlink()
    before = files(tmp_path / name)
    im2rec(tmp_path / "p", fox)
    command = f"im2rec.py {tmp_path / name} {fox}"
    told = f"{name}.lst: left alone, since it is not a list of {tmp_path / 'p'}; to pack it, type {command}"
    assert (told in capsys.readouterr().out) == old
    assert records(tmp_path / "p") == 1
    assert files(tmp_path / name) == before


@pytest.mark.parametrize(
    ("name", "old", "whose"),
    [
        ("p_val", False, "of the prefix p_val"),
        ("p_val", True, "that belongs to no whole split"),
        ("p_1", True, "that belongs to no whole split"),
    ],
)
def test_a_split_replaces_no_other_data_set(
    pets: pathlib.Path, fox: pathlib.Path, tmp_path: pathlib.Path, name: str, old: bool, whose: str
) -> None:
    im2rec(tmp_path / name, fox)
    if old:
        (tmp_path / f"{name}.lst.json").unlink()
    before = files(tmp_path / name)
    shape = ["--train-ratio", "0.5"] if "val" in name else ["--chunks", "2"]
    for more in ([], ["--list", "--recursive"]):
        with pytest.raises(DataError, match=rf"{name}\.lst: there is a list {whose}; choose another prefix"):
            main([str(tmp_path / "p"), str(pets), *shape, *more])
    assert files(tmp_path / name) == before
    assert not list(tmp_path.glob("p*train*"))


@pytest.mark.parametrize(
    ("then", "now", "change"),
    [
        ("--train-ratio 0.75", "--train-ratio 0.5", "--train-ratio 0.75 then, --train-ratio 0.5 now"),
        ("", "--no-shuffle", "shuffled then, --no-shuffle now"),
        ("--exts jpg png", "--exts jpg", "--exts .jpg .png then, --exts .jpg now; 12 pictures then, 9 now"),
        ("--chunks 2 --train-ratio 0.75", "--chunks 2 --train-ratio 0.5", "--train-ratio 0.75 then"),
    ],
)
def test_other_options_make_the_list_anew(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, then: str, now: str, change: str
) -> None:
    im2rec(tmp_path / "p", pets, *then.split())
    im2rec(tmp_path / "p", pets, *now.split())
    assert f"({change}" in capsys.readouterr().out
    im2rec(tmp_path / "fresh", pets, *now.split())
    for path in tmp_path.glob("fresh*.rec"):
        ours = path.with_name(path.name.replace("fresh", "p"))
        assert ours.read_bytes() == path.read_bytes()
        assert ours.with_suffix(".lst").read_bytes() == path.with_suffix(".lst").read_bytes()
        # They know what they were made from now.
    im2rec(tmp_path / "p", pets, *now.split())
    assert "an existing list of" in capsys.readouterr().out


def test_new_pictures_and_classes_are_packed(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    im2rec(tmp_path / "p", pets)
    add(pets, "ape/1.jpg")
    im2rec(tmp_path / "p", pets)
    assert (
        "p.lst: remade, a list of 13 pictures in 4 classes (12 pictures then, 13 now)"
        in capsys.readouterr().out
    )
    assert (tmp_path / "p.classes").read_text() == "ape\ncat\ndog\nowl\n"
    (pets / "ape" / "1.jpg").rename(pets / "ape" / "2.jpg")
    im2rec(tmp_path / "p", pets)
    assert "(13 pictures as then, but with other names)" in capsys.readouterr().out


def test_another_folder_and_a_moved_one(
    pets: pathlib.Path, fox: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    im2rec(tmp_path / "p", pets)
    pets.rename(tmp_path / "moved")
    im2rec(tmp_path / "p", tmp_path / "moved")
    assert "an existing list of 12 pictures" in capsys.readouterr().out
    im2rec(tmp_path / "p", fox)
    said = capsys.readouterr().out
    assert f"(12 pictures then, 1 now; {tmp_path / 'moved'} then, {fox} now)" in said
    assert records(tmp_path / "p") == 1


def test_a_split_that_failed_is_made_whole(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A bad picture is in one part only; the other part's list is no reason to leave it out."""
    good = (pets / "cat" / "0.png").read_bytes()
    (pets / "cat" / "0.png").write_bytes(b"bad")
    assert main([str(tmp_path / "p"), str(pets), "--train-ratio", "0.5"]) == 1
    assert len(list(tmp_path.glob("p*.rec"))) == 1
    (pets / "cat" / "0.png").write_bytes(good)
    im2rec(tmp_path / "p", pets, "--train-ratio", 0.5)
    assert [records(tmp_path / f"p_{part}") for part in ("train", "val")] == [6, 6]


def test_names_that_no_list_can_hold(pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    for name in ("cat/x\ty.jpg", "dog/new\nline.jpg", "owl/ends .jpg ", "\x1b[31mred/\r.jpg"):
        add(pets, name)
    for more in (["--train-ratio", "0.75"], ["--list", "--recursive"]):
        with pytest.raises(DataError, match="3 of 15 names have tabs, line breaks, or blanks at their ends"):
            main([str(tmp_path / "p"), str(pets), *more])
        told = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in told] == [
            *("\\u001b[31mred/\\r.jpg", "cat/x\\ty.jpg", "dog/new\\nline.jpg")
        ]
        assert not list(tmp_path.glob("p*.*"))
    im2rec(tmp_path / "p", pets, "--train-ratio", 0.75, "--on-error", "skip")
    said = capsys.readouterr().out
    assert "left out: 3 names that a list cannot hold" in said
    assert "left out: 1 file with other endings (1 .jpg )" in said
    assert "\x1b" not in said
    assert [records(tmp_path / f"p_{part}") for part in ("train", "val")] == [9, 3]


def test_a_list_changed_by_hand_is_kept(pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    im2rec(tmp_path / "p", pets, "--train-ratio", 0.75)
    path = tmp_path / "p_train.lst"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    edited = path.read_bytes()
    add(pets, "cat/new.jpg")
    capsys.readouterr()
    im2rec(tmp_path / "p", pets)
    said = capsys.readouterr().out
    assert "p_train.lst: an existing list of 8 pictures, changed since it was made: packed as it is" in said
    assert f"2 pictures of {pets} are in none of these lists" in said
    assert [records(tmp_path / f"p_{part}") for part in ("train", "val")] == [8, 3]
    assert path.read_bytes() == edited
    assert not (tmp_path / "p.lst").exists()
    with pytest.raises(
        UsageError, match=r"made with --train-ratio 0\.75, but --train-ratio 0\.5 is asked for"
    ):
        main([str(tmp_path / "p"), str(pets), "--train-ratio", "0.5"])
    with pytest.raises(
        DataError, match=r"p_train\.lst: the list there was changed since it was made, and would be"
    ):
        main([str(tmp_path / "p"), str(pets), "--list", "--recursive", "--train-ratio", "0.75"])
    assert path.read_bytes() == edited


def test_a_list_that_was_asked_for_is_kept(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    im2rec(tmp_path / "p", pets, "--list", "--recursive", "--train-ratio", 0.75)
    lists = {path: path.read_bytes() for path in tmp_path.glob("p*.lst")}
    im2rec(tmp_path / "p", pets, "--recursive", "--train-ratio", 0.75)
    assert "p_val.lst: an existing list of 3 pictures, made by --list" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"shuffled, but --no-shuffle is asked for; omit that, or"):
        main([str(tmp_path / "p"), str(pets), "--no-shuffle"])
    add(pets, "cat/new.jpg")
    anew = r"remake it with im2rec\.py .*p .*pets --list --recursive --train-ratio 0\.75"
    for prefix, whose, remedy in (("p", "", anew), ("p_val", " for the prefix p", "choose another prefix")):
        message = rf"made{whose} from 12 pictures of .*, but .* has 13 pictures; {remedy}, or remove .*\.lst\.json to"
        with pytest.raises(DataError, match=message):
            main([str(tmp_path / prefix), str(pets)])
    assert {path: path.read_bytes() for path in tmp_path.glob("p*.lst")} == lists
    im2rec(tmp_path / "p", pets, "--list", "--recursive", "--train-ratio", 0.75)
    im2rec(tmp_path / "p_val", pets, "--resize", 10)
    im2rec(tmp_path / "p", pets)
    assert [records(tmp_path / f"p_{part}") for part in ("train", "val")] == [9, 4]


def test_mxnets_lists_are_read_as_they_are(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    mxnet_im2rec.run(
        tmp_path / "p", pets, "--list", "--recursive", "--train-ratio", 0.5, "--test-ratio", 0.25
    )
    lists = {path: path.read_bytes() for path in tmp_path.glob("p*.lst")}
    add(pets, "cat/new.jpg")
    capsys.readouterr()
    im2rec(tmp_path / "p", pets, "--recursive", "--train-ratio", 0.5, "--test-ratio", 0.25)
    said = capsys.readouterr().out
    assert "p_test.lst: an existing list of 3 pictures, not made by this program: packed as it is" in said
    assert [records(tmp_path / f"p_{part}") for part in ("train", "val", "test")] == [6, 3, 3]
    with pytest.raises(
        UsageError, match=r"there is a list, and --chunks 2 would make .*p_0\.lst and .*p_1\.lst"
    ):
        main([str(tmp_path / "p"), str(pets), "--chunks", "2"])
    with pytest.raises(
        DataError, match=r"p_test\.lst: the list there was not made by this program, and would be lost"
    ):
        main([str(tmp_path / "p"), str(pets), "--list", "--train-ratio", "0.5", "--test-ratio", "0.25"])
    assert {path: path.read_bytes() for path in tmp_path.glob("p*.lst")} == lists
    shutil.copy(tmp_path / "p_val.lst", tmp_path / "p.lst")
    with pytest.raises(
        DataError, match=r"which lists are meant\? .*p\.lst; or .*p_test\.lst and .*p_train\.lst and"
    ):
        main([str(tmp_path / "p"), str(pets)])


def test_an_origin_that_is_none(pets: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """A list with one that cannot be read is a user's."""
    im2rec(tmp_path / "p", pets)
    whole = (tmp_path / "p.lst.json").read_text()
    for text in (
        "",
        "[1]",
        "[" * 60_000,
        '{"prefix": "p"}',
        whole.replace('"chunks": 1', '"chunks": "\x1b"'),
        "\udcff",
    ):
        (tmp_path / "p.lst.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        im2rec(tmp_path / "p", pets)
        assert "not made by this program: packed as it is" in capsys.readouterr().out


def test_one_run_at_a_time(pets: pathlib.Path, fox: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The second would take the first one's list, and call all its pictures bad."""
    with open(tmp_path / "p.partial", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for more in ([], ["--list"], ["--train-ratio", "0.5"]):
            with pytest.raises(DataError, match=r"p\.partial: another process is writing this file"):
                main([str(tmp_path / "p"), str(fox), *more])
    im2rec(tmp_path / "p", fox)  # what a killed run left is no obstacle
    assert not (tmp_path / "p.partial").exists()
    assert [entry.path for entry in read_list(str(tmp_path / "p.lst"))] == ["fox/1.jpg"]


def test_the_folder_of_the_prefix_is_made(
    pets: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    im2rec("data/new/train", "pets")
    im2rec("lists/train", "pets", "--list")
    assert records(tmp_path / "data" / "new" / "train") == 12
    assert (tmp_path / "lists" / "train.lst").exists()


def test_names_of_other_classes_do_not_stay(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Nor do files of CIFAR-10 take the place of a split's."""
    im2rec(tmp_path / "p", pets)
    add(tmp_path / "flat", "1.jpg")
    before = files(tmp_path / "p")
    with pytest.raises(
        DataError, match=r"p\.classes: the file has class names, but these pictures have none"
    ):
        main([str(tmp_path / "p"), str(tmp_path / "flat")])
    assert files(tmp_path / "p") == before
    im2rec(tmp_path / "p", pets, "--train-ratio", 0.5)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"p_train\.lst: there is a list of other pictures"):
        main([str(tmp_path / "p"), str(tmp_path), "--source", "cifar10"])
    assert records(tmp_path / "p_train") == 6


def test_a_part_of_a_split_by_its_own_name(
    pets: pathlib.Path, fox: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """It is packed again, as with MXNet's; another folder does not take its place, and a renamed list is an own one."""
    im2rec(tmp_path / "p", pets, "--train-ratio", 0.75)
    im2rec(tmp_path / "p_val", pets, "--resize", 9)
    assert "p_val.lst: an existing list of 3 pictures, of the split of p\n" in capsys.readouterr().out
    assert records(tmp_path / "p_val") == 3
    before = files(tmp_path / "p_val")
    with pytest.raises(
        DataError, match=r"made for the prefix p from 12 pictures of .*; choose another prefix, or"
    ):
        main([str(tmp_path / "p_val"), str(fox)])
    with pytest.raises(
        DataError, match=r"p_val\.lst: the list there was made for another prefix, and would be lost"
    ):
        main([str(tmp_path / "p_val"), str(fox), "--list", "--recursive"])
    assert files(tmp_path / "p_val") == before
    for path in tmp_path.glob("p_val.*"):
        path.rename(tmp_path / f"q.{path.name[6:]}")
    im2rec(tmp_path / "q", fox)
    assert "q.lst: remade, a list of 1 pictures" in capsys.readouterr().out
