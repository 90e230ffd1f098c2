"""Write NIR files (HDF5) that nir 1.0.4 and 1.0.8 read, and metadata into files that others wrote."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.nir.network import Network
from qsnnc.nir.neurons import NEURONS
from qsnnc.nir.reading import import_h5py

#: the version of NIR whose nodes are written
VERSION = "1.0.8"


def to_bytes(network: Network) -> bytes:
    """Return the NIR file of a network without graphs within; equal networks give equal bytes."""
    h5py = import_h5py(network.path)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("earliest", "v110")) as file:
        text = h5py.string_dtype()
        file.create_dataset("version", data=VERSION, dtype=text)
        root = file.create_group("node")
        root.create_dataset("type", data="NIRGraph", dtype=text)
        root.create_dataset("edges", data=np.array(network.edges, object), dtype=text)
        _metadata(root, network.metadata, text)
        nodes = root.create_group("nodes")
        for name, node in network.nodes.items():
            group = nodes.create_group(name)
            group.create_dataset("type", data=node.type, dtype=text)
            for key, value in node.values.items():
                _dataset(group, key, value, text)
            _metadata(group, node.metadata, text)
    return buffer.getvalue()


def annotated(content: bytes, metadata: Mapping[str, str], node: str | None, path: str) -> bytes:
    """Return a NIR file with keys added to its metadata, or to that of a node; nothing else is touched.

    Raises
    ------
    ModelError
        The file has no such node.
    """
    h5py = import_h5py(path)
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        group = file["node"]
        for part in node.split("/") if node else ():
            inside = group["nodes"]
            if part not in inside:
                names = ", ".join(sorted(inside)[:20])
                raise ModelError(path, f"has no node {part!r}; it has {names}", code="nir-node", found=part)
            group = inside[part]
        if node and group["type"].asstr()[()] not in NEURONS:
            raise ModelError(
                path,
                f"the node {node!r} is no neuron; only {', '.join(NEURONS)} have settings of their own",
                code="nir-node",
                found=node,
            )
        target = group.require_group("metadata")
        for key, value in metadata.items():
            if key in target:
                del target[key]
            target.create_dataset(key, data=value, dtype=h5py.string_dtype())
    return buffer.getvalue()


def _metadata(group: Any, metadata: Mapping[str, str], text: Any) -> None:
    if metadata:
        inside = group.create_group("metadata")
        for key, value in metadata.items():
            inside.create_dataset(key, data=value, dtype=text)


def _dataset(group: Any, key: str, value: Any, text: Any) -> None:
    if isinstance(value, str):
        group.create_dataset(key, data=value, dtype=text)
        return
    array = np.asarray(value)
    packed = {"compression": "gzip", "shuffle": True} if array.size > 64 else {}
    group.create_dataset(key, data=array, **packed)
