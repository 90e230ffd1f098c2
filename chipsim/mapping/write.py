"""Write a ``.map``; equal mappings give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chipsim.files import write_atomically
from chipsim.mapping import archive
from chipsim.mapping.program import Layer, Mapping, Population
from chipsim.mapping.totals import totals

#: members besides arrays that `files` lists
FILES = ("encoder.onnx", "network.json", "readout.onnx")
ORDER = "feature-major, level innermost"


def manifest(mapping: Mapping, members: dict[str, bytes]) -> dict[str, Any]:
    """Return the content of ``mapping.yaml``; ``members`` are the other members."""
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
                **archive.digest(members[f"arrays/{name}.npy"]),
            }
            for name in mapping.dtypes
        },
        "files": {name: archive.digest(members[name]) for name in FILES if name in members},
    }


def to_bytes(mapping: Mapping) -> bytes:
    """Serialise a mapping."""
    members = {f"arrays/{name}.npy": archive.npy(mapping.arrays[name], dtype) for name, dtype in mapping.dtypes.items()}
    members["readout.onnx"] = mapping.readout_onnx
    if mapping.encoder_onnx is not None:
        members["encoder.onnx"] = mapping.encoder_onnx
    if mapping.network is not None:
        members["network.json"] = mapping.network
    members["mapping.yaml"] = to_yaml(manifest(mapping, members)).encode()
    return archive.pack(members, deflate=True)


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
