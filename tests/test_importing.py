"""Importing the packages changes nothing in the program that does so."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Other people's packages come first: what they do to a process is theirs.
OTHERS = """
import accelerate, fcntl, jinja2, matplotlib.figure, numpy, packaging, PIL.Image, pydantic, rasterio, rich.progress, xxhash, yaml
import scipy.io, simplejpeg, submitit, tensorboard, torch.distributed.fsdp, torch.utils.tensorboard, transformers, typer, webdataset
import safetensors.torch
import transformers.models.clip.modeling_clip
"""
STATE = """
import gc, locale, logging, os, random, signal, sys, threading, warnings
import matplotlib, numpy, PIL.Image, PIL.ImageFile, torch

def state():
    return {
        "collector": (gc.isenabled(), gc.get_freeze_count(), gc.get_threshold(), gc.get_debug(), list(gc.callbacks)),
        "warnings": list(map(str, warnings.filters)),
        "hooks": (sys.excepthook, sys.displayhook, warnings.showwarning, threading.excepthook, sys.unraisablehook),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "path": (list(sys.path), os.getcwd(), sys.getrecursionlimit()),
        "mask": (os.umask(os.umask(0o22)),),
        "locale": locale.setlocale(locale.LC_ALL),
        "threads": threading.active_count(),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "loggers": {
            name: (logger.level, list(logger.handlers), logger.propagate)
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger) and (logger.level or logger.handlers or not logger.propagate)
        },
        "Pillow": (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES, PIL.ImageFile.MAXBLOCK),
        "matplotlib": (dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)),
        "NumPy": (numpy.geterr(), numpy.get_printoptions(), str(numpy.random.get_state())),
        "random": random.getstate(),
        "torch": (
            torch.get_num_threads(),
            torch.get_num_interop_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_rng_state().tolist(),
            torch.distributed.is_initialized(),
            torch.multiprocessing.get_start_method(allow_none=True),
        ),
    }
"""
EVERYTHING = """
import importlib, pkgutil

before = state()
for package in ("shards", "dsva", "launch"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
after = state()
changed = [name for name in before if after[name] != before[name]]
assert not changed, changed
print(len([name for name in sys.modules if name.startswith(("shards.", "dsva.", "launch."))]))
"""
LIGHT = """
import sys
import dsva, launch, shards
assert not {"torch", "transformers", "numpy", "PIL", "matplotlib", "rich"} & sys.modules.keys()
assert {"UserError", "fit", "load", "open_set", "read_results"} <= set(dir(dsva)) == set(dir(dsva)) | set(dsva.__all__)
assert issubclass(dsva.UserError, ValueError)
assert dsva.open_set and dsva.read_results and dsva.load and dsva.fit
assert "torch" not in sys.modules
try:
    dsva.nothing
except AttributeError:
    print("light")
"""


def told(program: str) -> str:
    """Run a program in a fresh process; return what it prints."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def test_importing_every_module_changes_nothing() -> None:
    modules = len([file for name in ("shards", "dsva", "launch") for file in (ROOT / name).rglob("*.py")])
    assert int(told(OTHERS + STATE + EVERYTHING)) >= modules - 10


def test_the_names_of_the_package_cost_nothing_until_they_are_called() -> None:
    assert told(LIGHT) == "light"


def test_the_packages_are_installed_with_the_word_that_they_have_types() -> None:
    for name in ("shards", "dsva", "launch"):
        assert (ROOT / name / "py.typed").is_file()
    assert '"*" = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
