"""What a PAICORE 2.5 is: the limits of a chip of this kind, as one frozen, validated value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from chipsim.chip.spec import BaseChip, Place, Provenance, Width

Bits = Annotated[int, Field(ge=1, le=32)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, min_length=1)]


class PaicoreSpec(BaseChip):
    """The limits of a chip whose cores hold neurons, potentials and weights in one memory; no limit stands anywhere else.

    What a field of a word can hold follows from the format of the words (``chipsim/paicore/FORMAT.md``) and is no key; a
    chip of the user's own can have less of what is a key, not more.
    """

    kind: Literal["paicore"] = "paicore"
    first_row: Annotated[int, Field(ge=0, le=8)]  # cores below it are not offline cores: (0, 0) is the host's
    memory_rows: Annotated[int, Field(ge=8, le=4096)]  # of 128 bits a core
    input_rows: Annotated[int, Field(ge=1, le=256)]  # of 512 bits a core
    max_lcn: Annotated[int, Field(ge=0, le=7)]  # an input map takes 1, 2, 4 .. 2 ** max_lcn input rows
    input_bits: Widths
    weight_bits: Widths
    potential_bits: Bits
    leak_bits: Annotated[int, Field(ge=1, le=20)]
    max_fold_step: Annotated[int, Field(ge=1, le=2047)]  # of the input (bits) and of the output axon
    max_skew: Annotated[int, Field(ge=1, le=65_535)]  # base skew and CSC index, bits
    max_copies: Annotated[int, Field(ge=0, le=31)]  # of a neuron's one destination
    dead_cores: Annotated[tuple[Place, ...], Field(strict=False)] = ()  # x, y; their routers work
    provenance: dict[str, Provenance] = Field(default_factory=dict)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Cores that can be used, (x, y), column by column."""
        columns, rows = self.grid
        dead = set(self.dead_cores)
        return tuple((x, y) for x in range(columns) for y in range(self.first_row, rows) if (x, y) not in dead)

    @property
    def cores(self) -> int:
        """Offline cores that work."""
        return len(self.places)

    @property
    def cores_said(self) -> str:
        """How many cores there are, for an error."""
        return f"{self.cores:,}"

    @property
    def max_inputs(self) -> int:
        """Largest input map, bits."""
        return min(512 << self.max_lcn, 512 * self.input_rows)

    @property
    def potential_min(self) -> int:
        """Smallest potential."""
        return -(1 << (self.potential_bits - 1))

    @property
    def potential_max(self) -> int:
        """Largest potential."""
        return (1 << (self.potential_bits - 1)) - 1

    @model_validator(mode="after")
    def _consistent(self) -> PaicoreSpec:
        columns, rows = self.grid
        if columns > 9 or rows > 9:
            raise ValueError(f"grid: {columns} x {rows} is beyond the 9 x 9 cores of a chip; allowed: at most [9, 9]")
        if self.first_row >= rows:
            raise ValueError(f"first_row: {self.first_row} leaves no core; allowed: 0 to {rows - 1}")
        for x, y in self.dead_cores:
            if x >= columns or y >= rows:
                raise ValueError(f"dead_cores: ({x}, {y}) is not on the {columns} x {rows} grid")
        if not self.cores:
            raise ValueError("dead_cores: no core is left; allowed: at least one that works")
        for key in ("input_bits", "weight_bits"):
            widths = getattr(self, key)
            if len(set(widths)) != len(widths) or 1 not in widths:
                raise ValueError(f"{key}: {list(widths)}; allowed: 1 and others of 2, 4, 8, each once")
        return self
