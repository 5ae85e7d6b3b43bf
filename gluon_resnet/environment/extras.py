"""The extra of pyproject.toml that provides a missing module."""

from __future__ import annotations

import sys

LAST_PYTHON_OF_MXNET = (3, 12)  # MXNet 1.9.1 needs a NumPy below 2, and none of those has wheels for 3.13
_MODULES = {  # by import name; all others come with the package itself
    "cpu": ("mxnet", "dmlc_tracker", "scipy", "tabulate"),
    "plot": ("matplotlib", "jinja2", "tabulate"),
    "tensorboard": ("tensorboardX",),
    "convert": ("safetensors",),
    "onnx": ("onnx", "onnxruntime"),
    "demo": ("sklearn",),
    "completion": ("shtab",),
    "serve": ("starlette", "uvicorn", "httptools", "prometheus_client", "multipart"),
}


def how_to_get_mxnet(extra: str = "cpu") -> str:
    """Why MXNet is missing and what to type, as the end of a sentence: ``this needs MXNet, which ...``."""
    if sys.version_info[:2] <= LAST_PYTHON_OF_MXNET:
        return f"is not installed: pip install 'gluon-resnet[{extra}]'"
    last, this = (".".join(map(str, version[:2])) for version in (LAST_PYTHON_OF_MXNET, sys.version_info))
    return (
        f"runs on Python 3.9 to {last}, and this is Python {this}: "
        f"python{last} -m pip install 'gluon-resnet[{extra}]' in an environment of its own"
    )


def what_to_install(module: str) -> str:
    """A sentence for a user who lacks `module`: its name, and what to type."""
    if module.startswith("gluon_resnet."):
        return f"{module} is not built for this Python: make setup in a checkout, or pip install gluon-resnet"
    name = module.partition(".")[0]
    extras = [extra for extra, modules in _MODULES.items() if name in modules]
    if "cpu" in extras and sys.version_info[:2] > LAST_PYTHON_OF_MXNET:
        extras.remove("cpu")  # where pip refuses it
        if name == "mxnet":
            return f"this needs MXNet, which {how_to_get_mxnet()}"
        if not extras:
            return f"this needs {name}, which comes with MXNet; MXNet {how_to_get_mxnet()}"
    package = f"'gluon-resnet[{extras[0]}]'" if extras else "gluon-resnet"
    return f"this needs {name}, which is not installed: pip install {package}, or make setup in a checkout"
