"""Build the native extension; everything else about the package stands in pyproject.toml."""

import glob
import os
import subprocess
import sys
import sysconfig
from multiprocessing.pool import ThreadPool

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

# What has to be there before a compiler is asked, and the Debian package that brings it.
HEADERS = {
    "Python.h": "python3-dev",
    "jpeglib.h": "libjpeg-dev",
    "jpegint.h": "libjpeg-dev",
    "png.h": "libpng-dev",
    "opencv2/core.hpp": "libopencv-core-dev",
    "opencv2/imgproc.hpp": "libopencv-imgproc-dev",
}


def pkg_config(option: str) -> list:
    """Folders outside the compiler's own path; none where pkg-config or a package's .pc file is missing.

    Debian's libopencv-core-dev and libopencv-imgproc-dev have no .pc file: /usr/include/opencv4 is theirs.
    """
    folders = []
    for package in ("libjpeg", "libpng", "opencv4"):
        try:
            flags = subprocess.check_output(
                ["pkg-config", option, package], stderr=subprocess.DEVNULL, text=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        folders += [flag[2:] for flag in flags.split()]
    return folders


class BuildExtension(build_ext):
    """Compiles side by side, and only what is older than its source, a header or this file."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # An editable install would compile in a temporary folder, and the next build everything again.
        # A free-threaded Python has another SOABI, but the same cache tag as the other build of its version.
        self.build_temp = f"build/{sysconfig.get_config_var('SOABI')}"

    def build_extensions(self) -> None:
        self.require_headers()
        compile_serially = self.compiler.compile

        def compile_changed(sources, output_dir, depends, **options):
            objects = self.compiler.object_filenames(sources, output_dir=output_dir)
            changed = [s for s, o in zip(sources, objects) if newer_group([s, *depends], o)]
            with ThreadPool(os.cpu_count()) as pool:
                pool.map(
                    lambda s: compile_serially([s], output_dir=output_dir, **options), changed, chunksize=1
                )
            return objects

        self.compiler.compile = compile_changed
        super().build_extensions()

    def require_headers(self) -> None:
        """End with one sentence that names the packages, instead of a page of compiler output."""
        probe = "".join(f"#if !__has_include(<{name}>)\nmissing {name}\n#endif\n" for name in HEADERS)
        folders = [*self.extensions[0].include_dirs, sysconfig.get_path("include")]
        preprocess = [*self.compiler.compiler_so_cxx, "-std=c++17", "-E", "-P", "-x", "c++", "-"]
        try:
            output = subprocess.run(
                preprocess + [f"-I{folder}" for folder in folders],
                input=probe,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            sys.exit(
                f"error: {preprocess[0]} does not compile C++17 (Debian and Ubuntu: apt-get install g++)"
            )
        missing = [line.split()[1] for line in output.splitlines() if line.startswith("missing ")]
        if missing:
            packages = " ".join(HEADERS[name] for name in missing)
            sys.exit(f"error: {', '.join(missing)} not found (Debian and Ubuntu: apt-get install {packages})")


# Rooms of csrc/ that Python calls. The predictor needs MXNet's C library: CMake builds it, and its program.
ROOMS = ("base", "graph", "images", "loader", "packing", "records", "transforms")

extension = Extension(
    "gluon_resnet.data._native",
    sources=[
        "gluon_resnet/data/_native.pyx",
        *sorted(path for room in ROOMS for path in glob.glob(f"csrc/{room}/*.cc")),
    ],
    depends=["setup.py", *sorted(glob.glob("csrc/*/*.h"))],
    include_dirs=["csrc", *pkg_config("--cflags-only-I"), "/usr/include/opencv4"],
    library_dirs=pkg_config("--libs-only-L"),
    libraries=["jpeg", "png", "opencv_imgproc", "opencv_core"],
    # Nothing here depends on the building machine's processor: wheels and containers travel.
    extra_compile_args=["-std=c++17", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
    language="c++",
)

setup(
    ext_modules=cythonize([extension], language_level=3, build_dir="build", quiet=True),
    cmdclass={"build_ext": BuildExtension},
)
