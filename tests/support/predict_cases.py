"""What the C++ program `predict` and tools/predict.py both have to do: cases for the tests of both.

A test module runs each of CASES with a Setting of its own program:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
    def test_as_both_programs(case, model, images, tmp_path):
        case(Setting([program], model.prefix, images, tmp_path))
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import select
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tests.support.pictures import encode, picture, write_records

TOLERANCE = 1e-4  # of a logit, between batches of different sizes
PATIENCE = 600  # seconds: it only ends a hang


class Setting(NamedTuple):
    command: Sequence[str]  # that starts the program
    prefix: str  # of a model with the classes "class 0" to "class 11", in MXNet's three files
    images: list[str]  # ten good files
    folder: pathlib.Path  # an empty one

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 2 * PATIENCE, **options}
        return subprocess.run([*self.command, *arguments], text=True, check=False, **options)

    def predict(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess:
        return self.run(self.prefix, *arguments, **options)

    def logits(self, *arguments: str, **options: Any) -> tuple[list[str], np.ndarray]:
        """The names and the logits that the program prints of good images."""
        done = self.predict("--json", "--logits", *arguments, **options)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(list(line) == ["image", "logits"] for line in lines)
        return [line["image"] for line in lines], np.array([line["logits"] for line in lines])

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen]:
        """The program with pipes as its standard input and output; killed when it is still there at the end."""
        process = subprocess.Popen(
            [*self.command, self.prefix, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def status(done: subprocess.CompletedProcess) -> int:
    assert "Traceback" not in done.stderr  # whose exit status is 1, too
    return done.returncode


def batches_of_all_sizes_in_any_number_of_threads_give_the_same_logits(setting: Setting) -> None:
    images = (setting.images * 4)[:37]
    names, expected = setting.logits("--batch-size", "1", "--threads", "1", *images)
    assert names == images
    assert len({tuple(row) for row in expected.round(3)}) == 10
    for batch, threads in ((1, 8), (7, 1), (7, 2), (16, 1), (16, 8)):
        names, found = setting.logits("--batch-size", str(batch), "--threads", str(threads), *images)
        assert names == images
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def bad_images_in_the_middle_are_told_and_counted(setting: Setting) -> None:
    contents = {
        "cut.jpg": encode(picture(60, 60))[:500],
        "empty.png": b"",
        "a.gif": b"GIF89a",
        "text.jpg": b"hello",
    }
    for name, content in contents.items():
        (setting.folder / name).write_bytes(content)
    bad = [*(str(setting.folder / name) for name in contents), str(setting.folder / "none.jpg")]
    mixed = [setting.images[0], *bad, setting.images[1]]
    good = setting.predict("--batch-size", "2", setting.images[0], setting.images[1])
    done = setting.predict("--batch-size", "2", *mixed)
    assert status(done) == 1
    assert done.stdout == good.stdout
    *reasons, count = done.stderr.splitlines()
    assert all(line.startswith(f"predict: {path}: ") for path, line in zip(bad, reasons))
    assert len(reasons) == len(bad)
    assert reasons[-1] == f"predict: {bad[-1]}: No such file or directory"
    nothing = "expected a JPEG or PNG image, found no bytes: the file is empty"
    assert reasons[1] == f"predict: {bad[1]}: {nothing}"
    assert count == "predict: 5 of 7 images could not be predicted"

    done = setting.predict("--json", *mixed)
    assert status(done) == 1
    assert done.stderr.splitlines() == [*reasons, count]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == mixed
    assert [f"predict: {line['image']}: {line['error']}" for line in lines[1:-1]] == reasons


def folders_are_searched_through_in_the_order_of_paths(setting: Setting) -> None:
    content = pathlib.Path(setting.images[0]).read_bytes()
    folder = setting.folder / "pictures"
    images = ["B.JPG", "a-b/1.jpeg", "a/2.Png", "a/deeper/3.PNG", "a/\xe4.jpg", "z.jpg"]
    for name in [*images, "notes.txt", "a/4.jpg.part", "5.gif", "jpg", "a.rec"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "a" / "round").symlink_to(folder)
    (folder / "folder.jpg").mkdir()
    (folder / "b.jpg").symlink_to("z.jpg")
    expected = [f"{folder}/{name}" for name in sorted([*images, "b.jpg"], key=str.encode)]
    names, logits = setting.logits(str(folder))
    assert names == expected
    np.testing.assert_allclose(logits, logits[:1].repeat(len(logits), axis=0), rtol=0, atol=TOLERANCE)
    assert setting.logits(f"{folder}/")[0] == expected


def a_folder_without_images_is_told(setting: Setting) -> None:
    (setting.folder / "notes.txt").write_text("none")
    done = setting.predict(str(setting.folder), setting.images[0])
    assert status(done) == 1
    assert done.stdout.startswith(setting.images[0])
    reason = "there are no images (.jpg, .jpeg, .png) in this folder"
    assert done.stderr.splitlines() == [
        f"predict: {setting.folder}: {reason}",
        "predict: 1 of 2 images could not be predicted",
    ]


def a_missing_model_is_told(setting: Setting) -> None:
    done = setting.run(str(setting.folder / "none"), setting.images[0])
    assert (status(done), done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.endswith(
        f": error: {setting.folder}/none-model.json: No such file or directory: "
        "name what tools/export.py wrote, or give --image-shape\n"
    )


def records_have_keys_and_labels_and_a_broken_one_does_not_end_it(setting: Setting) -> None:
    contents = [pathlib.Path(path).read_bytes() for path in setting.images[1:6]]
    labels = [0, 2.5, [1, 0.5, 3], 16777216, 4]
    path = write_records(setting.folder / "a.rec", contents, labels)
    offsets = [int(line.split()[1]) for line in pathlib.Path(path[:-4] + ".idx").read_text().splitlines()]
    content = bytearray(pathlib.Path(path).read_bytes())
    content[offsets[3]] ^= 1  # the magic number of the fourth
    pathlib.Path(path).write_bytes(content)

    done = setting.predict("--json", "--logits", path, setting.images[1])
    assert status(done) == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [*(f"{path}:{key}" for key in range(5)), setting.images[1]]
    assert [line.get("label") for line in lines] == [0, 2.5, [1, 0.5, 3], None, 4, None]
    assert [isinstance(lines[i]["label"], int) for i in (0, 1, 4)] == [True, False, True]
    assert "error" in lines[3]
    np.testing.assert_allclose(lines[0]["logits"], lines[5]["logits"], rtol=0, atol=TOLERANCE)
    assert done.stderr == (
        f"predict: {path}:3: {lines[3]['error']}\npredict: 1 of 6 images could not be predicted\n"
    )
    assert f"{path}: " not in lines[3]["error"]


def a_record_file_that_is_none_is_told(setting: Setting) -> None:
    missing, text = str(setting.folder / "none.rec"), setting.folder / "text.rec"
    text.write_text("this is not a record file" * 9)
    done = setting.predict(missing, str(text), setting.images[0])
    assert status(done) == 1
    assert done.stdout.startswith(setting.images[0])
    first, second, count = done.stderr.splitlines()
    assert first == f"predict: {missing}: No such file or directory"
    assert second.startswith(f"predict: {text}: ")
    assert count == "predict: 2 of 3 images could not be predicted"


def standard_input_is_a_list_of_names(setting: Setting) -> None:
    folder = setting.folder / "more"
    folder.mkdir()
    (folder / "1.png").write_bytes(pathlib.Path(setting.images[9]).read_bytes())
    lines = [setting.images[3], "", str(folder), "", "", setting.images[4]]  # the last one ends in mid-line
    names, _ = setting.logits("--stdin", setting.images[0], input="\n".join(lines))
    assert names == [setting.images[0], setting.images[3], str(folder / "1.png"), setting.images[4]]
    assert setting.predict("--stdin", input="").stdout == ""
    assert setting.predict("--stdin", stdin=subprocess.DEVNULL).returncode == 0


def a_name_that_is_no_text_is_only_a_missing_file(setting: Setting) -> None:
    with setting.started("--stdin", "--json") as process:
        output, errors = process.communicate(b"\xff\xfe.jpg\na\0b.jpg\n", timeout=PATIENCE)
        assert process.returncode == 1
    lines = [json.loads(line) for line in output.decode().splitlines()]
    assert [line["error"] for line in lines] == ["No such file or directory"] * 2
    assert errors.count(b"\n") == 3


def each_name_is_answered_when_standard_input_pauses(setting: Setting) -> None:
    with setting.started("--stdin", "--json", "--batch-size", "16") as process:
        for images in (setting.images[:1], setting.images[1:4], setting.images[4:5]):
            process.stdin.write("".join(f"{image}\n" for image in images).encode())
            answers = [json.loads(read_line(process)) for _ in images]
            assert [answer["image"] for answer in answers] == images
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def read_line(process: subprocess.Popen) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([process.stdout], [], [], PATIENCE)[0], "no answer"
        block = os.read(process.stdout.fileno(), 1)
        assert block, process.stderr.read().decode()
        line += block
    return line


def standard_output_that_is_closed_ends_it(setting: Setting) -> None:
    with setting.started("--stdin") as process:
        process.stdout.close()
        process.stdin.write(f"{setting.images[0]}\n".encode())
        assert process.wait(PATIENCE) == 1  # although more names may come
        assert process.stderr.read() == b""


def a_full_disk_is_told(setting: Setting) -> None:
    with open("/dev/full", "w") as full:
        done = setting.predict(setting.images[0], stdout=full)
    assert status(done) == 1
    assert "No space left on device" in done.stderr


def interrupted_it_ends(setting: Setting) -> None:
    with setting.started("--stdin") as process:
        process.stdin.write(f"{setting.images[0]}\n".encode())
        read_line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) in (-signal.SIGINT, 128 + signal.SIGINT)


def topk_and_text(setting: Setting) -> None:
    for topk, lines in ((None, 6), ("1", 2), ("99", 13)):
        arguments = () if topk is None else ("--top-k", topk)
        done = setting.predict(setting.images[0], *arguments)
        assert status(done) == 0
        name, *classes = done.stdout.splitlines()
        assert (name, len(classes)) == (setting.images[0], lines - 1)
    probabilities = []
    for line in classes:
        probability, name = line.split(" %  class ")
        assert len(probability) == 7
        assert 0 <= int(name) < 12
        probabilities.append(float(probability))
    assert probabilities == sorted(probabilities, reverse=True)
    assert abs(sum(probabilities) - 100) < 0.1


def json_of_classes(setting: Setting) -> None:
    done = setting.predict("--json", "--top-k", "12", setting.images[0])
    assert status(done) == 0
    assert done.stdout.count("\n") == 1
    line = json.loads(done.stdout)
    assert list(line) == ["image", "classes"]
    assert sorted(entry["label"] for entry in line["classes"]) == list(range(12))
    assert all(list(entry) == ["label", "name", "probability"] for entry in line["classes"])
    assert all(entry["name"] == f"class {entry['label']}" for entry in line["classes"])
    probabilities = [entry["probability"] for entry in line["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert abs(sum(probabilities) - 1) < 1e-6
    assert done.stdout.startswith(f'{{"image": "{setting.images[0]}", "classes": [{{"label": ')


def without_a_card(setting: Setting) -> None:
    for end in ("-symbol.json", "-0000.params"):
        (setting.folder / f"alone{end}").symlink_to(os.path.abspath(setting.prefix + end))
    card = json.loads(pathlib.Path(f"{setting.prefix}-model.json").read_text())["preprocessing"]
    sizes = ["--image-shape", "3,{0},{0}".format(card["size"]), "--resize", str(card["resize"])]
    alone = (str(setting.folder / "alone"), setting.images[1])
    named = setting.predict(setting.images[1]).stdout
    assert setting.run(*sizes, *alone).stdout == named.replace("class ", "")

    names = setting.folder / "names"
    names.write_text("".join(f"class {label}\n" for label in range(12)))
    classes = [*sizes, "--class-names", str(names)]
    assert setting.run(*classes, *alone).stdout == named

    names.write_text("one\ntwo\n")
    done = setting.run(*classes, *alone)
    assert (status(done), done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1

    names.write_text("".join(f"class {label}\r\n" for label in range(12)), newline="")
    assert setting.run(*classes, *alone).stdout == named

    for content, words in ((b"", "expected class names"), (b"caf\xe9\n" * 12, "not in UTF-8")):
        names.write_bytes(content)
        done = setting.run(*classes, *alone)
        assert (status(done), done.stdout) == (1, "")
        assert f"{names}: {words}" in done.stderr

    done = setting.run(*alone)
    assert (status(done), done.stdout) == (1, "")
    assert f"{alone[0]}-model.json" in done.stderr


def a_file_without_end_is_a_bad_image(setting: Setting) -> None:
    pipe = setting.folder / "pipe"
    os.mkfifo(pipe)
    try:
        done = setting.predict(setting.images[0], "/dev/zero", str(pipe), "--threads", "1")
    finally:
        pipe.unlink()
    assert status(done) == 1
    assert done.stdout.startswith(setting.images[0])
    assert "predict: /dev/zero: expected a regular file, found a device\n" in done.stderr
    assert f"predict: {pipe}: expected a regular file, found a pipe\n" in done.stderr


def streams_that_are_closed_from_the_start_are_told(setting: Setting) -> None:
    for closed, arguments, name in (
        ("<&-", ["--stdin"], "standard input"),
        (">&-", [setting.images[0]], "standard output"),
    ):
        command = shlex.join([*setting.command, setting.prefix, *arguments])
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        assert (status(done), done.stdout) == (1, "")
        assert f"error: {name}: " in done.stderr
        assert done.stderr.count("\n") == 1


def variables_that_would_end_the_process_are_refused(setting: Setting) -> None:
    for name in ("OMP_NUM_THREADS", "GLUON_RESNET_OMP_THREADS", "MXNET_CPU_WORKER_NTHREADS"):
        for value in ("two", "0", "-1", "", "100000000"):
            done = setting.predict(setting.images[0], env={**os.environ, name: value})
            assert (status(done), done.stdout) == (2, "")
            assert f"must be a number of threads, not '{value}'\n" in done.stderr


def files_of_a_format_that_the_card_does_not_name_are_not_used(setting: Setting) -> None:
    for end in ("-symbol.json", "-0000.params"):  # of an earlier export
        (setting.folder / f"later{end}").symlink_to(os.path.abspath(setting.prefix + end))
    card = json.loads(pathlib.Path(f"{setting.prefix}-model.json").read_text())
    card["exported"]["formats"] = {"onnx": "opset 13"}
    path = setting.folder / "later-model.json"
    path.write_text(json.dumps(card))
    done = setting.run(str(setting.folder / "later"), setting.images[0])
    assert (status(done), done.stdout) == (1, "")
    assert f"error: {path}: exported: expected the format mxnet, found " in done.stderr


def no_name_is_obeyed_by_a_terminal_and_json_stays_exact(setting: Setting) -> None:
    for end in ("-symbol.json", "-0000.params"):
        (setting.folder / f"hostile{end}").symlink_to(os.path.abspath(setting.prefix + end))
    card = json.loads(pathlib.Path(f"{setting.prefix}-model.json").read_text())
    card["classes"] = [f"{label}\x1b[31m\n\r\x9b\u202e\u2066é" for label in range(12)]
    path = setting.folder / "hostile-model.json"
    path.write_text(json.dumps(card))
    good, bad, missing = (
        str(setting.folder / f"{name}\x1b[2J\nx.jpg") for name in ("good", "bad", "missing")
    )
    os.link(setting.images[0], good)
    pathlib.Path(bad).write_bytes(b"\x1b[31m")
    seen = [f"{setting.folder}/{name}\\u001b[2J\\nx.jpg" for name in ("good", "bad", "missing")]

    done = setting.run(str(setting.folder / "hostile"), good, bad, missing)
    assert status(done) == 1
    name, *classes = done.stdout.splitlines()
    assert name == seen[0]
    assert len(classes) == 5
    assert all(line.endswith("\\u001b[31m\\n\\r\\u009b\\u202e\\u2066é") for line in classes)
    first, second, _ = done.stderr.splitlines()
    assert first.startswith(f"predict: {seen[1]}: expected a JPEG or PNG image")
    assert second == f"predict: {seen[2]}: No such file or directory"

    done = setting.run(str(setting.folder / "hostile"), "--json", "--top-k", "12", good)
    line = json.loads(done.stdout)
    assert line["image"] == good
    assert sorted(entry["name"] for entry in line["classes"]) == sorted(card["classes"])
    assert done.stdout.removesuffix("\n").isprintable()

    card["preprocessing"]["interpolation"] = "\x1b[31m\u202e" * 1000
    path.write_text(json.dumps(card))
    done = setting.run(str(setting.folder / "hostile"), good)
    assert (status(done), done.stdout) == (1, "")
    assert done.stderr.removesuffix("\n").isprintable()
    assert len(done.stderr) < 1000
    for hostile in (
        "[" * 200_000,
        '{"format": ' + "[" * 200_000 + "]" * 200_000 + "}",
        " " * (1 << 24) + "{}",
    ):
        path.write_text(hostile)
        done = setting.run(str(setting.folder / "hostile"), good)
        assert (status(done), done.stdout) == (1, "")
        assert f"{setting.folder}/hostile-model.json: " in done.stderr
        assert len(done.stderr) < 1000
    done = setting.run(f"{setting.folder}/\x1b[31m\n", "--\x1b\r")
    assert status(done) == 2
    assert done.stderr.removesuffix("\n").isprintable()


def wrong_arguments_are_refused_at_once(setting: Setting) -> None:
    for arguments in (
        [],
        ["MODEL"],
        ["--unknown", "MODEL", "IMAGE"],
        ["-x", "MODEL", "IMAGE"],
        ["MODEL", "IMAGE", "--top-k"],
        ["--top-k", "0", "MODEL", "IMAGE"],
        ["--top-k", "five", "MODEL", "IMAGE"],
        ["--top-k", "99999999999999999999", "MODEL", "IMAGE"],
        ["--batch-size", "0", "MODEL", "IMAGE"],
        ["--batch-size", "65537", "MODEL", "IMAGE"],
        ["--threads", "1025", "MODEL", "IMAGE"],
        ["--threads", "-1", "MODEL", "IMAGE"],
        ["--logits=yes", "MODEL", "IMAGE"],
        ["--resize", "40", "MODEL", "IMAGE"],
        ["--class-names", "names", "MODEL", "IMAGE"],
        ["--image-shape", "3,32,32", "--resize", "31", "MODEL", "IMAGE"],
    ):
        names = {"MODEL": setting.prefix, "IMAGE": setting.images[0]}
        done = setting.run(*(names.get(argument, argument) for argument in arguments))
        assert (status(done), done.stdout) == (2, ""), arguments
        (line,) = done.stderr.splitlines()  # no page of usage stands before it
        assert line.startswith("predict"), arguments
        assert ": error: " in line, arguments


def help_names_the_options(setting: Setting) -> None:
    done = setting.run("--help")
    assert (status(done), done.stderr) == (0, "")
    for option in (
        "--batch-size",
        "--threads",
        "--top-k",
        "--json",
        "--logits",
        "--stdin",
        "--image-shape",
        "--class-names",
    ):
        assert option in done.stdout
    assert re.search(r"^example:\n  .*predict\S* pets picture.jpg", done.stdout, re.MULTILINE)


MXNET_CASES = [  # not for another backend
    without_a_card,
    variables_that_would_end_the_process_are_refused,
    files_of_a_format_that_the_card_does_not_name_are_not_used,
    no_name_is_obeyed_by_a_terminal_and_json_stays_exact,
]
CASES = [
    batches_of_all_sizes_in_any_number_of_threads_give_the_same_logits,
    bad_images_in_the_middle_are_told_and_counted,
    folders_are_searched_through_in_the_order_of_paths,
    a_folder_without_images_is_told,
    a_missing_model_is_told,
    records_have_keys_and_labels_and_a_broken_one_does_not_end_it,
    a_record_file_that_is_none_is_told,
    standard_input_is_a_list_of_names,
    a_name_that_is_no_text_is_only_a_missing_file,
    each_name_is_answered_when_standard_input_pauses,
    standard_output_that_is_closed_ends_it,
    a_full_disk_is_told,
    interrupted_it_ends,
    topk_and_text,
    json_of_classes,
    a_file_without_end_is_a_bad_image,
    streams_that_are_closed_from_the_start_are_told,
    wrong_arguments_are_refused_at_once,
    help_names_the_options,
    *MXNET_CASES,
]
