"""Make the compiled examples of this folder anew: ``python mappings/make.py [DIRECTORY]``."""

from __future__ import annotations

import sys
from pathlib import Path

import chipsim
from chipsim.mapping.write import to_yaml
from qsnnc import compile_model, inspect

ROOT = Path(__file__).resolve().parent
#: file: model, chip
EXAMPLES = {
    "lenet-xbar1152": ("lenet.onnx", "xbar1152"),
    "tiny-mini": ("tiny.onnx", "mini"),
}


def make(directory: Path) -> None:
    """Write each example as ``.map`` and as the YAML that ``qsnnc inspect --yaml`` prints."""
    for name, (model, chip) in EXAMPLES.items():
        mapping = compile_model(ROOT.parent / "models" / model, chip).mapping
        chipsim.write_mapping(mapping, directory / f"{name}.map")
        (directory / f"{name}.yaml").write_text(to_yaml(inspect(mapping)))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
