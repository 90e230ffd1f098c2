"""A NIR network as frozen data: nodes with their arrays, edges, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.nir.semantics import PREFIX

__all__ = ["F64", "PREFIX", "Metadata", "Network", "Node"]

F64 = npt.NDArray[np.float64]
Metadata = Mapping[str, str]  # numbers as text


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A node: its type, its arrays (numbers or text) by the names that NIR gives them."""

    name: str
    type: str
    values: Mapping[str, Any]
    metadata: Metadata = field(default_factory=dict)
    inner: Network | None = None  # of a nested graph

    def array(self, key: str) -> F64:
        """Return an array of finite or infinite numbers.

        Raises
        ------
        ModelError
            It is missing, text, or holds NaN.
        """
        if key not in self.values:
            raise ModelError(
                self.name,
                f"{self.type} lacks the array '{key}'; the file is incomplete: export it again",
                code="nir-corrupt", node=self.name, allowed=key,
            )  # fmt: skip
        found = self.values[key]
        if isinstance(found, str):
            raise ModelError(
                self.name, f"'{key}' is the text {found[:40]!r}; numbers are required", code="nir-corrupt", node=self.name
            )
        value = np.asarray(found, np.float64)
        if np.isnan(value).any():
            raise ModelError(
                self.name, f"'{key}' contains NaN; train or export the network again", code="nir-parameter", node=self.name
            )
        return value

    def finite(self, key: str) -> F64:
        """Return an array of finite numbers."""
        value = self.array(key)
        if not np.isfinite(value).all():
            raise ModelError(
                self.name, f"'{key}' contains infinity; finite numbers are required", code="nir-parameter", node=self.name
            )
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Nodes by name and the edges between them; ``sha256`` and ``path`` are those of the file."""

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    metadata: Metadata = field(default_factory=dict)
    sha256: str = ""
    path: str = "network"
