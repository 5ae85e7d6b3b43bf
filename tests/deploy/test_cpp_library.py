"""The installed C++ library, as programs outside of this repository use it."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.deployed import Model, make_model, program, run_program, write_images
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


def run(*command: object, timeout: int = 300) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The prefix where the library stands, moved after it was installed."""
    folder = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", pathlib.Path(program()).parent, "--prefix", folder / "before")
    (folder / "before").rename(folder / "after")
    return folder / "after"


@pytest.fixture(scope="module")
def check(installed: pathlib.Path) -> pathlib.Path:
    """tests/native/predictor_check.cc, built with the installed header and library alone."""
    target = installed.parent / "predictor_check"
    library = next(installed.glob("lib*/**/libgluon_resnet_predictor.so")).parent
    source = ROOT / "tests" / "native" / "predictor_check.cc"
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{installed / 'include'}"]
    run(
        "g++",
        *options,
        source,
        "-o",
        target,
        f"-L{library}",
        "-lgluon_resnet_predictor",
        f"-Wl,-rpath,{library}",
    )
    return target


def test_the_example_is_built_from_outside_and_names_images(
    installed: pathlib.Path, model: Model, images: list[str], tmp_path: pathlib.Path
) -> None:
    shutil.copytree(ROOT / "examples" / "cpp", tmp_path / "source")
    build = tmp_path / "build"
    run("cmake", "-S", tmp_path / "source", "-B", build, f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", build)
    named = run(build / "name_images", model.prefix, *images).splitlines()
    expected = run_program("--top-k", "1", model.prefix, *images).stdout.splitlines()
    assert [line.partition(": ")[0] for line in named] == images == expected[::2]
    assert [line.split(": ")[1].split(",")[0] for line in named] == [
        line.split(" %  ")[1] for line in expected[1::2]
    ]
    (tmp_path / "empty.jpg").touch()
    for name, reason in (
        ("none.jpg", "cannot open: No such file or directory"),
        ("empty.jpg", "expected a JPEG or PNG image, found no bytes: the file is empty"),
        ("source", "cannot read: Is a directory"),
    ):
        path = tmp_path / name
        done = subprocess.run(
            [build / "name_images", model.prefix, path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"name_images: {path}: {reason}\n"


def test_the_header_needs_the_standard_library_alone(installed: pathlib.Path) -> None:
    assert [path.name for path in (installed / "include").rglob("*.h")] == ["predictor.h"]
    header = (installed / "include" / "gluon_resnet" / "predictor.h").read_text()
    includes = [line for line in header.splitlines() if line.startswith("#include")]
    assert includes == [f"#include <{name}>" for name in ("cstddef", "memory", "string", "utility", "vector")]


def test_only_the_interface_is_exported(installed: pathlib.Path) -> None:
    library = next(installed.glob("lib*/**/libgluon_resnet_predictor.so"))
    symbols = run("nm", "--dynamic", "--defined-only", "--demangle", library).splitlines()
    ours = {line.split(" ", 2)[2].split("(")[0] for line in symbols if " gluon_resnet::" in line}
    names = {name.removeprefix("gluon_resnet::") for name in ours}
    assert {name for name in names if "::" not in name and " " not in name} == {
        "most_probable",
        "read_card",
        "share_processors",
    }
    assert {name for name in names if "::" in name and not name.startswith("Predictor::")} == set()
    assert [line for line in symbols if " cv::" in line or " glX" in line] == []


def test_what_is_loaded_with_it_is_no_window_system(installed: pathlib.Path) -> None:
    if (
        "STATIC_OPENCV_LINKS:INTERNAL=1"
        not in (pathlib.Path(program()).parent / "CMakeCache.txt").read_text()
    ):
        pytest.skip("OpenCV's static libraries are not complete here: the shared ones bring what they like")
    library = next(installed.glob("lib*/**/libgluon_resnet_predictor.so"))
    for file in (library, installed / "bin" / "predict"):
        loaded = re.findall(r"^\s*(?:.*/)?(lib[\w+-]+)\.so", run("ldd", file), re.MULTILINE)
        assert "libjpeg" in loaded
        assert [name for name in loaded if re.match("libX|libxcb|libGL|libgtk|libQt|libwayland", name)] == []
        needed = re.findall(r"NEEDED.*\[(lib[\w+-]+)\.so", run("readelf", "-d", file))
        ours = {"libjpeg", "libpng16", "libtbb"}  # of OpenCV's static library; nothing else of OpenCV's
        assert set(needed) <= ours | {"libstdc++", "libm", "libgcc_s", "libc", "libpthread", "libdl", "libz"}


@pytest.mark.parametrize("what", ["threads", pytest.param("reshape", marks=pytest.mark.slow), "misuse"])
def test_as_a_program_of_others_uses_it(
    what: str, check: pathlib.Path, model: Model, images: list[str]
) -> None:
    run(check, model.prefix, images[1], what)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sanitizers_and_valgrind_find_nothing() -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    said = run(ROOT / "scripts" / "check_predict.sh", sys.executable, "300", timeout=1200)
    assert said.count("resident after 30 and 300 predictions") == 2
