"""The tables that the kernels read: fields of their records, and how a value is fired."""

from __future__ import annotations

from chipsim.engine.fast.ir import Function, Value

LANES = 64
#: features of the encoder, and pixels, are filled up to a multiple of this
FEATURES = 64
#: cores, and images, whose counts are put in order at a time
SQUARE = 16
BYTES, HALVES, WORDS, LONGS = (f"<64 x i{bits}>" for bits in (8, 16, 32, 64))

#: fields of `run`'s context, addresses in this order
CONTEXT = (
    "values", "rows", "accumulators", "mask", "totals", "cores", "row_offset", "fires", "thresholds", "lists",
    "tables", "potentials", "row_counts", "row_runs", "spike_runs", "core_spikes", "core_sops", "core_events", "no_counts",
    "sent",
    "state", "start", "bias", "amount", "step", "kernels", "taken", "counted", "latched",
    "arrivals", "entries", "drawing", "arrived", "places",
)  # fmt: skip
#: kernels that `run` calls, addresses in this order
CALLED = (
    "pack",
    "count_runs",
    "count_quads",
    "arrive",
    "bundle",
    "maximum",
    "fire_short",
    *(
        f"{name}{bits}"
        for bits in (16, 32)
        for name in ("dense", "list", "change", "fire", "fire_sent", "fire_lost", "read", "step", "hold")
    ),
)
#: fields of a core's record that say how its form is added up, or compared
PLACES = ("code", "lookup", "tables", "list", "maximum")
#: all of its fields, int64; "unit": how many cores from it on are added up together, 0 for the others of these;
#: "base": its first accumulator among those of its unit; "pack": the first row that is packed, and how many are
CORE = (
    *PLACES, "row", "rows", "fire", "fires", "accumulators", "narrow", "wide", "short",
    "spiking", "readout", "core", "stepping", "holding", "fraction", "shift", "multiply", "factor", "places", "keep",
    "together", "change", "unit", "base", "pack", "packed", "bundled",
)  # fmt: skip
#: fields of a core's record of what arrives, int64: its first entry, its first axon, and how many it has; how many
#: lines are counted, and where their totals begin
ARRIVAL = ("entry", "axon", "axons", "lines", "total")
#: fields of the context that hold potentials from step to step
KEPT = ("state", "start", "bias", "amount", "step")


def fire_record(f: Function, fires: Value, i: Value) -> list[Value]:
    """The four fields of a record of ``fires``."""
    record = f.at(fires, i, 16)
    return [f.index(record, field) for field in range(4)]


def add_total(f: Function, totals: Value, value: Value, fired: Value) -> None:
    """Add what fired in all images to the total of a value."""
    wide = f.cast("zext", fired, HALVES)
    total = f.emit("i16", f"call i16 @llvm.vector.reduce.add.v64i16({wide.type} {wide.name})")
    place = f.at(totals, value, 8)
    f.store(f.load("i64", place, 8) + f.cast("zext", total, "i64"), place, 8)


def transposed(f: Function, lines: list[Value]) -> list[Value]:
    """16 lines of blocks of 16, each 16 x 16 transposed: four rounds of interleaving line i with line i + 8."""
    length = lines[0].lanes
    for _ in range(4):
        new = []
        for i in range(8):
            for half in (0, 8):
                lanes = [block + half + j // 2 + length * (j % 2) for block in range(0, length, 16) for j in range(16)]
                new.append(f.shuffle(lines[i], lines[i + 8], lanes))
        lines = new
    return lines
