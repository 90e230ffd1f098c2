"""A run on one screen: how good it is, what it takes, what limits it, what to do next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from chipsim.engine.result import LayerCount, RunResult
from chipsim.provenance import line
from chipsim.report.tables import exceeded_line, unwatched_line
from chipsim.screen import MORE, NAME, count, largest, screen, table, wrap
from chipsim.timing.advice import advise
from chipsim.timing.result import Profile
from chipsim.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYERS = 14


def run_screen(
    result: RunResult, file: str, timing: Profile | None = None, more: Sequence[str] = (), *, timeable: bool = True
) -> str:
    """Return the text that ``chipsim run`` prints; the accuracy comes first.

    Parameters
    ----------
    file : str
        Path of the mapping.
    timing : Profile, optional
        Cycles and energy of the run.
    more : sequence of str
        Lines about a kind of mapping.
    timeable : bool
        Whether ``--timing`` takes this kind of mapping.
    """
    return screen(
        _accuracy(result, file),
        _takes(result, more),
        _layers(result, timing),
        _limits(result, timing),
        wrap(line(result.provenance)),
        wrap(f"next: {_next(timing is not None or not timeable)}; {MORE}"),
    )


def _accuracy(result: RunResult, file: str) -> list[str]:
    good = "unknown (the images have no labels)" if result.accuracy is None else f"{100 * result.accuracy:.2f} %"
    what = f"of {count(result.images)} images" if result.accuracy is not None else f"{count(result.images)} images"
    short = shortened([os.path.basename(file)], 40)[os.path.basename(file)]
    missing = sum(last - first + 1 for first, last in result.missing_images)
    what += f" (INCOMPLETE: {count(missing)} images could not be run)" if missing else ""
    return wrap(f"accuracy: {good}{' ' if result.accuracy is not None else ', '}{what} ({short} on chip '{result.chip}')")


def _takes(result: RunResult, more: Sequence[str]) -> list[str]:
    j = result.figures()
    paper = "" if j["paper_sops_per_image"] is None else f" ({count(j['paper_sops_per_image'])} by the paper's count)"
    steps = "" if result.steps == 1 else f", in {result.steps} steps"
    sent, entered, sops = (count(j[f"{what}_per_image"]) for what in ("spikes", "encoder_spikes", "sops"))
    lines = [
        f"per image: {sent} spikes on the chip, {entered} from the encoder; {sops} SOPs{paper}; "
        f"{result.ticks_per_image} ticks{steps}"
    ]
    if result.readout == "host":
        lines.append(f"the host computes the last layer, from {count(j['output_packets_per_image'])} packets per image")
    if result.exceeded is not None:
        lines.append(f"levels exceeded {exceeded_line(result.exceeded, result.images)}")
    if result.unwatched:
        lines.append(f"levels not watched: {unwatched_line(result.unwatched)}")
    lines += more
    lines.append(
        f"simulated at {count(result.images_per_second)} images per second, {result.threads} threads, engine {result.engine}"
    )
    return [line for text in lines for line in wrap(text)]


def _layers(result: RunResult, timing: Profile | None) -> list[str]:
    """A row a layer; of many, those with the most SOPs."""
    heads = ["layer", "neurons", "cores", "spikes", "SOPs", *(["cycles", "uJ"] if timing else ["rate"])]
    short = shortened((layer.name for layer in result.layers), NAME)
    cycles = {} if timing is None else {tick.layers: tick.cycles for tick in timing.ticks}
    energy = () if timing is None else timing.layer_energy[:-1]

    def cells(layers: Sequence[tuple[int, LayerCount]], name: str) -> list[str]:
        n = result.images
        row = [name, *(count(sum(getattr(x, key) for _, x in layers)) for key in ("neurons", "cores"))]
        row += [count(sum(getattr(x, key) for _, x in layers) / n) for key in ("spikes", "sops")]
        if timing is None:
            neurons = sum(x.neurons for _, x in layers)
            return [*row, f"{sum(x.rate * x.neurons for _, x in layers) / max(1, neurons):.3f}"]
        alone = [cycles.get((x.name,)) for _, x in layers]
        spent = None if any(value is None for value in alone) else sum(value or 0.0 for value in alone)
        return [*row, count(spent), f"{sum(float(energy[at].sum()) for at, _ in layers) / 1e6:,.3f}"]

    numbered = list(enumerate(result.layers))
    shown = largest([layer.sops for layer in result.layers], LAYERS)
    rows = [cells([numbered[at]], short[result.layers[at].name]) for at in shown]
    others = [numbered[at] for at in range(len(numbered)) if at not in set(shown)]
    if others:
        rows.append(cells(others, f"{len(others)} more layers"))
    return table(heads, rows)


def _limits(result: RunResult, timing: Profile | None) -> list[str]:
    if timing is None:
        core = max(result.cores, key=lambda core: core.sops, default=None)
        if core is None:
            return []
        layer = shortened([core.layer], NAME)[core.layer]
        sops = count(core.sops / result.images)
        return wrap(f"busiest core: {core.id} at {core.x}, {core.y} ({layer}), {sops} SOPs per image")
    latency, interval = float(timing.cycles.mean()), float(timing.interval_cycles.mean())
    joules, stream = timing.parts.sum() / 1e6, timing.stream_parts.sum() / 1e6
    lines = [
        f"latency: {count(latency)} cycles, {1e3 * timing.seconds_of(latency):.3f} ms at {timing.plan.chip.clock_mhz:g} MHz "
        f"(--timing {timing.mode}, {count(timing.images)} images)",
        f"throughput: {count(1 / timing.seconds_of(interval))} images per second" if interval else "throughput: no cycles",
        f"energy: {joules:,.2f} uJ per image, {stream:,.2f} uJ pipelined",
    ]
    if timing.ticks:
        slow = max(timing.ticks, key=lambda tick: tick.cycles)
        lines.append(f"slowest tick, {advise(timing, slow).text}")
    return [line for text in lines for line in wrap(text)]


def _next(timed: bool) -> str:
    return "--json FILE writes all figures" if timed else f"--timing cycle tells latency and energy, {_next(True)}"
