"""Which extra of pyproject.toml brings a module that is not there."""

from __future__ import annotations

_MODULES = {  # by the names that are imported; what is not here comes with the package itself
    "cpu": ("mxnet", "dmlc_tracker", "scipy", "tabulate"),
    "plot": ("matplotlib", "jinja2"),
    "tensorboard": ("tensorboardX",),
    "convert": ("safetensors",),
    "onnx": ("onnx", "onnxruntime"),
    "demo": ("sklearn",),
    "serve": ("starlette", "uvicorn", "httptools", "prometheus_client", "multipart"),
}


def what_to_install(module: str) -> str:
    """A sentence for the user who lacks `module`: its name, and what to type."""
    if module.startswith("gluon_resnet."):
        return f"{module} is not built for this Python: make setup in a checkout, or pip install gluon-resnet"
    name = module.partition(".")[0]
    extras = [extra for extra, modules in _MODULES.items() if name in modules]
    package = f"'gluon-resnet[{extras[0]}]'" if extras else "gluon-resnet"
    return f"this needs {name}, which is not installed: pip install {package}, or make setup in a checkout"
