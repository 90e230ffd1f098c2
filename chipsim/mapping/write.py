"""Write a ``.map``; equal mappings give equal bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy.typing as npt
import yaml

from chipsim.files import write_atomically
from chipsim.mapping import archive
from chipsim.mapping.program import Layer, Mapping, Population
from chipsim.mapping.totals import totals

#: members besides arrays that `files` lists
FILES = ("encoder.onnx", "network.json", "readout.onnx")
ORDER = "feature-major, level innermost"


def manifest(mapping: Mapping, digests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the content of ``mapping.yaml``; ``digests`` are those of the other members."""
    spec = mapping.input
    return {
        "format": "qsnnc-map",
        "version": 2,
        "generator": mapping.generator,
        "model_sha256": mapping.model_sha256,
        "exactness": mapping.exactness,
        "chip": mapping.chip.recorded(),
        "input": {
            "name": spec.name,
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "pixels": spec.pixels,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "code": spec.code,
            "seed": spec.seed,
        },
        "encoder": _population(mapping.encoder),
        "layers": [_layer(layer) for layer in mapping.layers],
        "output": {"tensor": mapping.output_tensor, "shape": list(mapping.output_shape), "of": mapping.readout_of},
        "steps": mapping.steps,
        **({"watched": list(mapping.watched)} if mapping.watched else {}),
        **({"unwatched": list(mapping.unwatched)} if mapping.unwatched else {}),
        **({"slack": mapping.slack} if mapping.slack else {}),
        "ticks": mapping.ticks,
        "totals": totals(mapping),
        "arrays": {
            name: {
                "dtype": str(mapping.arrays[name].dtype),
                "shape": list(mapping.arrays[name].shape),
                **digests[f"arrays/{name}.npy"],
            }
            for name in mapping.dtypes
        },
        "files": {name: digests[name] for name in FILES if name in digests},
    }


class Ahead:
    """The arrays of a mapping that are deflated in threads of their own, before the rest of it is known."""

    def __init__(self, mapping: Mapping, missing: str) -> None:
        """Begin, without the array that is still ``missing``."""
        self._arrays = {name: array for name, array in mapping.arrays.items() if name != missing}
        pool = ThreadPoolExecutor(archive.THREADS)
        by_size = sorted(self._arrays, key=lambda name: -self._arrays[name].size)
        self._parts = {name: pool.submit(_part, name, self._arrays[name]) for name in by_size}
        pool.shutdown(wait=False)

    def parts(self, mapping: Mapping) -> dict[str, archive.Part]:
        """Return the members of a mapping that are done, or will be soon; an array that was replaced is none of them."""
        same = [name for name, array in mapping.arrays.items() if array is self._arrays.get(name)]
        return {f"arrays/{name}.npy": self._parts[name].result() for name in same}


def _part(name: str, array: npt.NDArray[Any]) -> archive.Part:
    return archive.part(f"arrays/{name}.npy", archive.npy(array, str(array.dtype)))


def to_bytes(mapping: Mapping, ahead: Ahead | None = None) -> bytes:
    """Serialise a mapping; what was deflated ahead is used as it is."""
    parts = ahead.parts(mapping) if ahead else {}
    members = {
        f"arrays/{name}.npy": archive.npy(mapping.arrays[name], dtype)
        for name, dtype in mapping.dtypes.items()
        if f"arrays/{name}.npy" not in parts
    }
    members["readout.onnx"] = mapping.readout_onnx
    if mapping.encoder_onnx is not None:
        members["encoder.onnx"] = mapping.encoder_onnx
    if mapping.network is not None:
        members["network.json"] = mapping.network
    digests = {name: archive.digest(content) for name, content in members.items()}
    digests |= {name: part.digest for name, part in parts.items()}
    members["mapping.yaml"] = to_yaml(manifest(mapping, digests)).encode()
    return archive.pack(members, deflate=True, ahead=parts)


def write_mapping(mapping: Mapping, path: str | Path) -> None:
    """Write a ``.map`` atomically.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    write_atomically(path, to_bytes(mapping))


def to_yaml(value: Any) -> str:
    """Format YAML for a reader: keys in order, short lists on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _short_list(dumper: Any, data: list[Any]) -> Any:
    flow = all(not isinstance(entry, dict) for entry in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Dumper.add_representer(list, _short_list)


def _population(population: Population) -> dict[str, Any]:
    return {
        "name": population.name,
        "tensor": population.tensor,
        "shape": list(population.shape),
        "levels": population.levels,
        "scale": population.scale,
        "zero_point": population.zero_point,
        "tick": population.tick,
        "order": ORDER,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    names = "kind weight_bits fan_in fold neurons removed synapses cores bound limiting".split()
    found = {**_population(layer), **{name: getattr(layer, name) for name in names}}
    if layer.neuron is not None:
        model = layer.neuron
        found["neuron"] = {
            "reset": model.reset, "leak": list(model.leak), "fraction_bits": model.fraction_bits, "delay": model.delay,
        }  # fmt: skip
    return found
