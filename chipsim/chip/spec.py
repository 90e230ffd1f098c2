"""What a crossbar chip is: its limits, as one frozen, validated value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chipsim.exact import NUMBER, one_of

Side = Annotated[int, Field(ge=1, le=1024)]
Cycles = Annotated[int, Field(ge=0, le=1 << 20)]
SomeCycles = Annotated[int, Field(ge=1, le=1 << 20)]
Amount = Annotated[float, Field(ge=0, le=1e15), NUMBER]  # of energy or power
Count = Annotated[int, Field(ge=1, le=1 << 30)]
Place = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], Field(strict=False)]
Link = Annotated[tuple[Place, Place], Field(strict=False)]
Width = Annotated[Literal[1, 2, 4, 8], one_of(1, 2, 4, 8)]
Origin = Literal["sourced", "derived", "assumed"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Provenance(_Strict):
    """Where a number comes from: ``sourced`` (a citation), ``derived`` (a formula) or ``assumed`` (a reason)."""

    origin: Origin
    note: str


class Energy(_Strict):
    """Energy constants, each for one term; none of them is an all-in figure."""

    row_pj: Amount  # reading one crossbar row
    add_pj: Amount  # one column operation
    update_pj: Amount  # one neuron update
    spike_pj: Amount
    lookup_pj: Amount  # one target entry read
    hop_pj: Amount  # router and link
    io_pj: Amount  # one flit through a host port
    static_mw: Amount


class Timing(_Strict):
    """Cycles of a core, of the mesh and of the barrier between ticks (docs/timing.md says what each does)."""

    #: an axon event reads one physical row per cycle, or its synapses are processed one after another
    input: Literal["row_parallel", "synapse_serial"]
    word_bits: Count  # axon bits looked at in a cycle, with row_parallel
    synapses_per_cycle: Count  # with synapse_serial
    start_cycles: Cycles  # of every tick of a core
    columns_per_cycle: Count  # partial columns merged in the sweep over the neurons
    lookup_cycles: SomeCycles  # from one packet of the target table to the next
    router_cycles: SomeCycles  # a flit's way through a router
    link_cycles: Cycles
    credit_cycles: SomeCycles  # until a freed slot is known upstream; with 0 a decision would depend on one of its cycle
    buffer_flits: Count  # of each input of a router
    sync_cycles_per_hop: Cycles  # of the barrier, times the hops from corner to corner
    multicast: bool = False  # a spike to several cores leaves as one packet that forks where their ways part


class NeuronLimits(_Strict):
    """What the neurons of a core can do over the steps of a frame (chipsim/mapping/dynamics.py says what each does)."""

    resets: Annotated[tuple[Literal["value", "subtract", "none"], ...], Field(strict=False, min_length=1)]
    leak_bits: Annotated[int, Field(ge=0, le=30)]  # a potential is multiplied by k / 2**m, m up to this; 0: no leak
    fraction_bits: Annotated[int, Field(ge=0, le=30)]  # the sum of the weights is shifted left by up to this
    bias: bool  # a constant of the neuron is added in every step
    start: bool  # a frame begins with a constant of the neuron, not with 0
    delay: bool  # spikes can be sent as those of the next step


#: keys that version 1 of the `.map` format did not begin with: a file states one only where it is not the default, so that
#: older readers open every other file, and a new key changes no file
LATER = ("kind", "neuron", "timing.multicast")


class BaseChip(_Strict):
    """What every kind of chip has; ``kind`` of each says how its cores work."""

    name: str
    description: str = ""
    hypothetical: bool = False
    grid: Annotated[tuple[Side, Side], Field(strict=False)]  # columns, rows of cores


class ChipSpec(BaseChip):
    """The limits of a crossbar chip; no limit stands anywhere else.

    A core has ``axons`` rows and ``columns`` one-bit columns. With fold f (a power of two up to ``max_fold``, the same
    in a whole core) it holds up to f * axons axons and each neuron takes f * w columns for w-bit weights.
    """

    axons: Annotated[int, Field(ge=1, le=1 << 20)]
    columns: Annotated[int, Field(ge=1, le=1 << 20)]
    weight_bits: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)]
    max_fold: Annotated[int, Field(ge=1, le=1 << 10)]
    potential_bits: Annotated[int, Field(ge=2, le=32)]
    threshold_bits: Annotated[int, Field(ge=2, le=32)]
    targets: Count  # entries of a core's target table
    max_delay: Annotated[int, Field(ge=1, le=255)]
    ports: Annotated[tuple[Place, ...], Field(strict=False, min_length=1)]
    dead_cores: Annotated[tuple[Place, ...], Field(strict=False)] = ()  # x, y; their routers work
    dead_links: Annotated[tuple[Link, ...], Field(strict=False)] = ()  # between neighbours, both directions
    clock_mhz: Annotated[float, Field(ge=1e-6, le=1e9), NUMBER]
    energy: Energy
    timing: Timing | None = None  # None: nobody has said how long anything takes
    neuron: NeuronLimits | None = None  # None: a potential does not outlive a step
    provenance: dict[str, Provenance] = {}
    kind: Literal["crossbar"] = "crossbar"

    @property
    def cores(self) -> int:
        """Number of working cores on the grid."""
        return self.grid[0] * self.grid[1] - len(set(self.dead_cores))

    @property
    def cores_said(self) -> str:
        """The number of cores for an error message, dead ones included if there are any."""
        dead = len(set(self.dead_cores))
        return f"{self.cores:,}" + (f" that work ({dead:,} of its {self.cores + dead:,} are dead)" if dead else "")

    @property
    def folds(self) -> tuple[int, ...]:
        """1, 2, 4, ... max_fold."""
        return tuple(1 << i for i in range(self.max_fold.bit_length()))

    @property
    def max_fan_out(self) -> int:
        """Most axons that one neuron can drive; compiler and validation ask here, whatever limits it on a chip."""
        return self.targets

    @property
    def threshold_min(self) -> int:
        """Smallest threshold: 'always', if no potential goes below it."""
        return -(1 << (self.threshold_bits - 1))

    @property
    def threshold_max(self) -> int:
        """Largest threshold: 'never', if every potential stays below it."""
        return (1 << (self.threshold_bits - 1)) - 1

    @property
    def potential_min(self) -> int:
        """Smallest potential."""
        return -(1 << (self.potential_bits - 1))

    @property
    def potential_max(self) -> int:
        """Largest potential."""
        return (1 << (self.potential_bits - 1)) - 1

    def recorded(self) -> dict[str, Any]:
        """Return the chip as a `.map` file states it: all keys, without those of `LATER` that have their default."""
        found = self.model_dump(mode="json")
        for key in LATER:
            section, _, name = key.rpartition(".")
            owner = getattr(self, section) if section else self
            if owner is not None and getattr(owner, name) == type(owner).model_fields[name].default:
                (found[section] if section else found).pop(name)
                found["provenance"].pop(key, None)
        return found

    @model_validator(mode="after")
    def _consistent(self) -> ChipSpec:
        if self.max_fold & (self.max_fold - 1):
            raise ValueError(f"max_fold: {self.max_fold} is not a power of two; allowed: 1, 2, 4 and so on")
        ends = [end for link in self.dead_links for end in link]
        for key, places in (("ports", self.ports), ("dead_cores", self.dead_cores), ("dead_links", ends)):
            for x, y in places:
                if x >= self.grid[0] or y >= self.grid[1]:
                    width, height = self.grid
                    raise ValueError(
                        f"{key}: ({x}, {y}) is not on the {width} x {height} grid; allowed: x from 0 to {width - 1}, "
                        f"y from 0 to {height - 1}"
                    )
        for (x, y), (to_x, to_y) in self.dead_links:
            if abs(x - to_x) + abs(y - to_y) != 1:
                raise ValueError(
                    f"dead_links: ({x}, {y}) and ({to_x}, {to_y}) are not neighbours; allowed: cores 1 apart in x or y"
                )
        for port in self.ports:
            if self.ports.count(port) > 1:
                raise ValueError(f"ports: ({port[0]}, {port[1]}) is listed twice; a router has one west side")
        if len(set(self.weight_bits)) != len(self.weight_bits):
            raise ValueError("weight_bits: a width is listed twice; list each once")
        return self
