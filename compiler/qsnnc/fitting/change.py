"""A change of a network or its chip, as options of the compiler and as words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chipsim.chip import AnyChip
from qsnnc.fitting.edit import Narrowed
from qsnnc.options import CompileOptions, LevelCode


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What is changed, beyond the options that the user gave; nothing if all is empty."""

    narrowed: Mapping[str, Narrowed] = field(default_factory=dict)  # activations, by name
    weight_bits: Mapping[str, int] = field(default_factory=dict)  # layers, by name
    encoder: str | None = None
    code: LevelCode | None = None
    chip: str | None = None  # a preset
    grid: tuple[int, int] | None = None  # of the user's chip

    @property
    def needs_file(self) -> bool:
        """Whether it is a changed ONNX file, and not options alone."""
        return not all(each.is_clip for each in self.narrowed.values())

    @property
    def keeps_scores(self) -> bool:
        """Whether the model computes what it did: only where it is computed changes."""
        return not self.narrowed and not self.weight_bits

    def kind(self, levels: Mapping[str, int]) -> str:
        """Return which means it uses, as a short word; ``levels`` are those of the unchanged activations."""
        parts = (
            ("levels", any(each.levels < levels[name] for name, each in self.narrowed.items())),
            ("weight bits", bool(self.weight_bits)),
            ("channels", any(each.without for each in self.narrowed.values())),
            ("encoder", self.encoder is not None),
            ("code", self.code is not None),
            ("chip", self.chip is not None),
            ("grid", self.grid is not None),
        )
        return " + ".join(name for name, there in parts if there) or "none"

    def options(self, given: CompileOptions) -> CompileOptions:
        """Return the options of the compile, for the file that `needs_file` says."""
        more: dict[str, Any] = {}
        if self.narrowed and not self.needs_file:
            more["levels"] = {**given.levels, **{name: each.levels for name, each in self.narrowed.items()}}
        if self.needs_file:
            more["output"] = None  # the file has one
        if self.weight_bits:
            more["weight_bits"] = {**_named(given.weight_bits), **self.weight_bits}
        if self.encoder is not None:
            more["encoder"] = self.encoder
        if self.code is not None:
            more["code"] = self.code
        return replace(given, **more)

    def words(self, levels: Mapping[str, int], uncut: Mapping[str, str] | None = None) -> list[str]:
        """Say what is changed.

        Parameters
        ----------
        levels : mapping of str to int
            Those of the unchanged activations.
        uncut : mapping of str to str, optional
            Activations whose channels are multiplied by zero, and why they cannot be cut out of the file.
        """
        uncut = uncut or {}
        fewer = [
            f"{name} {each.levels} of {levels[name]}" for name, each in self.narrowed.items() if each.levels < levels[name]
        ]
        without = [
            f"{len(each.without)} of {name}"
            + (f" (multiplied by zero, for the graph does not let them be cut: {uncut[name]})" if name in uncut else "")
            for name, each in self.narrowed.items()
            if each.without
        ]
        widths = {
            bits: [name for name, own in self.weight_bits.items() if own == bits] for bits in self.weight_bits.values()
        }
        parts = {
            "levels": ", ".join(fewer),
            "channels left out": ", ".join(without),
            **{f"{bits}-bit weights": ", ".join(names) for bits, names in sorted(widths.items())},
            "the host computes up to": self.encoder or "",
            "levels travel as": {"value": "words", "thermometer": "thermometers"}.get(self.code or "", ""),
            "chip": self.chip or "",
            "grid": "" if self.grid is None else f"{self.grid[0]} x {self.grid[1]} cores",
        }
        return [f"{name}: {text}" for name, text in parts.items() if text] or ["nothing is to be changed"]

    def to_json(self, levels: Mapping[str, int]) -> dict[str, Any]:
        """Return the change as JSON; ``step`` is how many old levels a new one takes."""
        return {
            "activations": {
                name: {"levels": each.levels, "of": levels[name], "step": each.step, "channels_left_out": list(each.without)}
                for name, each in self.narrowed.items()
            },
            "weight_bits": dict(self.weight_bits),
            "encoder": self.encoder,
            "code": self.code,
            "chip": self.chip,
            "grid": None if self.grid is None else list(self.grid),
        }


def _named(bits: int | Mapping[str, int] | None) -> Mapping[str, int]:
    """Return bits of weights by name, those of all layers under the empty name."""
    return bits if isinstance(bits, Mapping) else {} if bits is None else {"": bits}


def chip_file(chip: AnyChip, grid: tuple[int, int], preset: str | None) -> str:
    """Return a chip YAML with another grid; based on the preset if the chip is one."""
    from chipsim.mapping.write import to_yaml

    name = f"{chip.name}-{grid[0]}x{grid[1]}"
    if preset is not None:
        return f"# {preset} with another grid.\nname: {name}\nbase: {preset}\ngrid: [{grid[0]}, {grid[1]}]\n"
    return to_yaml({**chip.model_dump(mode="json"), "name": name, "grid": list(grid)})
