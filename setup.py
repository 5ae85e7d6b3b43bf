"""Build the native extension; everything else about the package stands in pyproject.toml."""

import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# The predictor needs MXNet's C library and is built by CMake, not into the extension.
sources = [path for path in sorted(glob.glob("csrc/*.cc")) if "predict" not in path]

extension = Extension(
    "gluon_resnet.data._native",
    sources=["gluon_resnet/data/_native.pyx", *sources],
    depends=sorted(glob.glob("csrc/*.h")),
    include_dirs=["csrc", numpy.get_include(), "/usr/include/opencv4"],
    libraries=["jpeg", "png", "opencv_core", "opencv_imgproc"],
    extra_compile_args=["-std=c++17", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    language="c++",
)

setup(ext_modules=cythonize([extension], language_level=3))
