"""Fixtures: where MNIST lies, a compiled LeNet, small compiled networks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# before NumPy is imported, here and in the commands that tests start: tests run beside one another, and products shared out
# among more threads than processors take many times as long
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from support.examples import draw_at_most
from support.places import ROOT

from chipsim.engine.fast import kept

kept.WORTH = None  # what a test finds is not what another one has found
#: examples of a law in the profile `few`, which `make check` uses
FEW = 5
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("many", parent=settings.get_profile("ci"), derandomize=False, max_examples=10_000)
settings.register_profile("long", parent=settings.get_profile("ci"), derandomize=False, max_examples=2000)
settings.register_profile("few", parent=settings.get_profile("ci"), max_examples=FEW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell leaves it to a job in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what tests start has to be interruptible all the same


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
    parser.addoption("--peers", action="store_true", help="run other simulators too, in environments that pip makes")


@pytest.fixture(scope="session")
def peers(request: pytest.FixtureRequest) -> None:
    """Tests that run another simulator are skipped unless asked for: making its environment needs a package index."""
    if not request.config.getoption("--peers"):
        pytest.skip("runs another simulator: pytest --peers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the profile `few`, no law draws more examples than that, whatever its own settings say."""
    if settings().max_examples <= FEW:
        for item in items:
            draw_at_most(getattr(item, "obj", None), FEW)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Directory of the four MNIST files; tests that need it are skipped where there is none."""
    for place in (os.environ.get("QSNNC_MNIST_DIR"), ROOT.parent / "shared" / "mnist"):
        if place and (Path(place) / "t10k-images-idx3-ubyte.gz").exists():
            return Path(place)
    pytest.skip("MNIST is not here: set QSNNC_MNIST_DIR to a directory with its four files")


@pytest.fixture(scope="session")
def lenet_onnx() -> Path:
    return ROOT / "models" / "lenet.onnx"


@pytest.fixture(scope="session")
def lenet(lenet_onnx: Path):
    """The trained LeNet, compiled onto xbar1152."""
    from qsnnc import compile_model

    return compile_model(lenet_onnx)


@pytest.fixture
def save(tmp_path: Path):
    """Write an ONNX model and return its path."""

    def write(model: onnx.ModelProto, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def small(save):
    """A small compiled network on mini's rules, with its model and images."""
    from support.networks import Recipe, build

    from chipsim.chip import load_chip
    from chipsim.datasets import Dataset
    from qsnnc import compile_model

    chip = load_chip("mini").model_copy(update={"grid": (6, 6), "targets": 256})
    path = save(build(Recipe(6, 2, 1, 2, ("conv", "maxpool"), 3, seed=5, odd=True)))
    images = np.random.default_rng(0).integers(0, 256, (6, 6, 6)).astype(np.uint8)
    data = Dataset("random", "test", images, np.arange(6, dtype=np.int64) % 3)
    return compile_model(path, chip), path, data
