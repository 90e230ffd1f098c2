"""Look for changes with which a network fits a chip: the driver of ``qsnnc fit``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from chipsim.chip import ChipSpec, PaicoreSpec, load_any_chip, preset_names
from chipsim.datasets.dataset import Dataset
from chipsim.errors import ReportedError, UsageError
from qsnnc.errors import ModelError, Violation
from qsnnc.fitting.change import Change
from qsnnc.fitting.commands import found_of
from qsnnc.fitting.compiled import Compiler, Fitting, Refused
from qsnnc.fitting.ladders import Climb, Ladder, change_of, ladders_of
from qsnnc.fitting.measure import Images
from qsnnc.fitting.pareto import chosen_of, cost
from qsnnc.fitting.result import FitResult, Found
from qsnnc.fitting.search import Shapes, cores_needed, mildest
from qsnnc.frontend.integerize.host_parts import linear_layers
from qsnnc.narrower import is_image
from qsnnc.options import CompileOptions
from qsnnc.partition.advice import Counted, holding
from qsnnc.pipeline import DEFAULT_CHIP
from qsnnc.reading import front, nir_path

#: images on which single narrowings are measured
SAMPLE = 256
#: compiles of one kind of change: the estimate is corrected by what each takes
ATTEMPTS = 3
#: of the chip's cores: less than that, and a milder change is looked for
USED = 0.85
#: shares of the chip's cores that a network is narrowed to besides all of them: smaller networks for the front
SMALLER = (0.6, 0.3)
#: seconds in which an answer is to be found, and the share of them in which single narrowings are measured
BUDGET, MEASURING = 45.0, 0.4
#: neurons of a network up to which other chips are tried: to see that larger ones do not fit takes minutes
MOST_NEURONS = 1_000_000
#: which ladders are climbed together
KINDS = (("levels",), ("bits",), ("channels",), ("levels", "bits"), ("levels", "bits", "channels"))


@dataclass(eq=False)
class _Search:
    """One search; its methods are the kinds of changes."""

    compiler: Compiler
    ladders: tuple[Ladder, ...]
    image: str | None
    report: Callable[[int, int], None]
    in_time: Callable[[], bool] = lambda: True
    untried: int = 0  # kinds of change for which no time was left

    @cached_property
    def shapes(self) -> Shapes:
        """What the estimate reads of the network."""
        return Shapes.of(self.compiler.graph)

    def narrowings(self) -> Iterator[Callable[[], Iterator[Fitting]]]:
        """Iterate over the ways to narrow the network itself: levels, weights, channels, and what they do together."""
        seen: set[Climb] = set()
        there = {ladder.kind for ladder in self.ladders}
        asked: list[tuple[tuple[str, ...], float]] = [(kinds, 1.0) for kinds in KINDS if there >= set(kinds)]
        asked += [(tuple(sorted(there)), share) for share in SMALLER]
        for kinds, share in asked:
            yield partial(self._narrowed, kinds, share, seen)

    def _narrowed(self, kinds: Sequence[str], share: float, seen: set[Climb]) -> Iterator[Fitting]:
        """Narrow so far that a share of the chip's cores is enough."""
        allowed = tuple(ladder if ladder.kind in kinds else replace(ladder, rungs=()) for ladder in self.ladders)
        chip = self.compiler.chip
        if isinstance(chip, ChipSpec):
            found = self._by_estimate(allowed, chip, int(share * chip.cores), seen)
        else:
            found = self._by_compiling(allowed, seen) if share == 1 else None
        if found is not None:
            yield found

    def _by_estimate(self, ladders: tuple[Ladder, ...], chip: ChipSpec, most: int, seen: set[Climb]) -> Fitting | None:
        """Estimate by shapes, compile, and correct the estimate by what the compile takes."""
        budget, best = float(most), None
        for _ in range(ATTEMPTS):
            climb = mildest(ladders, partial(self._is_enough, ladders, chip, budget))
            if climb is None or climb in seen or not any(climb) or (best is not None and not self.in_time()):
                break
            seen.add(climb)
            found = self._compiled(ladders, climb)
            if isinstance(found, Fitting) and found.cores <= most:
                best = found if best is None or cost(found) < cost(best) else best
                if found.cores > USED * most:
                    break
                budget *= min(1.5, most / found.cores)
            elif best is not None:
                break
            else:
                cores = None if found is None else found.cores
                budget *= 0.7 if cores is None else 0.98 * most / cores
        return best

    def _is_enough(self, ladders: tuple[Ladder, ...], chip: ChipSpec, budget: float, climb: Climb) -> bool:
        need = cores_needed(self.shapes, chip, ladders, climb, self.image)
        return need is not None and need <= budget

    def _by_compiling(self, ladders: tuple[Ladder, ...], seen: set[Climb]) -> Fitting | None:
        """Find the mildest climb by compiling each that is asked about."""
        known: dict[Climb, Fitting | Refused | None] = {}

        def fits(climb: Climb) -> bool:
            if climb not in known:
                known[climb] = self._compiled(ladders, climb)
            return isinstance(known[climb], Fitting)

        climb = mildest(ladders, fits, relax=False)
        found = None if climb is None or climb in seen else known[climb]
        seen.update(known)
        return found if isinstance(found, Fitting) else None

    def _compiled(self, ladders: Sequence[Ladder], climb: Climb) -> Fitting | Refused | None:
        found = self.attempt(change_of(ladders, climb, self.compiler.populations))
        if not isinstance(found, Fitting):
            return found
        errors = [ladder.rungs[height - 1].error for ladder, height in zip(ladders, climb, strict=True) if height]
        return replace(found, narrowing=sum(errors))

    def attempt(self, change: Change) -> Fitting | Refused | None:
        """Compile a change; None where the network cannot be changed so."""
        try:
            return self.compiler.compile(change)
        except UsageError as error:
            left = {name: bits for name, bits in change.weight_bits.items() if name != error.fields["found"]}
            if error.code != "layer-unknown" or len(left) == len(change.weight_bits):
                return None
            return self.attempt(replace(change, weight_bits=left))  # the host computes that layer now
        except ReportedError:
            return None

    def encoders(self) -> Iterator[Fitting]:
        """Leave more of the network to the host: as few layers as possible.

        Ever more layers are left to it, 1, 2, 4, ..., until the network fits; then the number is bisected.
        """
        if self.compiler.options.encoder != "host":
            return
        there = {layer.name for layer in self.compiler.graph.layers}
        names = [name for name in linear_layers(self.compiler.model) if name in there]
        found = None
        low, high, step = 0, 0, 1  # names before `low` do not do
        while found is None and low < len(names):
            high = min(low + step, len(names)) - 1
            found = self._hosted(names[high])
            low, step = (low, step) if found else (high + 1, 2 * step)
        while found is not None and low < high:
            middle = (low + high) // 2
            fewer = self._hosted(names[middle])
            found, low, high = (found, middle + 1, high) if fewer is None else (fewer, low, middle)
        if found is not None:
            yield found

    def _hosted(self, name: str) -> Fitting | None:
        found = self.attempt(Change(encoder=name))
        return found if isinstance(found, Fitting) else None

    def codes(self) -> Iterator[Fitting]:
        """Send levels as words, or as thermometers, where the chip has both."""
        if not isinstance(self.compiler.chip, PaicoreSpec):
            return
        for code in ("value", "thermometer"):
            if code != self.compiler.options.code:
                found = self.attempt(Change(code=code))  # type: ignore[arg-type]
                if isinstance(found, Fitting):
                    yield found

    def grids(self, needed: Counted) -> Iterator[Fitting]:
        """Take a chip with more of the same cores."""
        chip = self.compiler.chip
        if isinstance(chip, PaicoreSpec):
            sides = range(max(chip.grid), 10)
            sizes = [(max(side, chip.grid[0]), max(side, chip.grid[1])) for side in sides]
        else:
            grid = holding(chip, needed)
            sizes = [] if grid is None else [grid]
        for size in sizes:
            if size != chip.grid:
                found = self.attempt(Change(grid=size))
                if isinstance(found, Fitting):
                    yield found
                    return

    def presets(self) -> Iterator[Fitting]:
        """Take another chip."""
        if sum(layer.neurons for layer in self.compiler.graph.layers) > MOST_NEURONS:
            return
        for name in preset_names():
            if name != self.compiler.chip.name and self.compiler.options.avoid is None:
                found = self.attempt(Change(chip=name))
                if isinstance(found, Fitting):
                    yield found

    def all(self, needed: Counted) -> list[Fitting]:
        """Try every kind of change; return those with which the network fits."""
        first, *narrowings = self.narrowings()
        # what costs no accuracy comes first, so that the budget never takes it away, but for other chips, which take longest
        exact: list[Callable[[], Iterator[Fitting]]] = [self.encoders, self.codes, partial(self.grids, needed)]
        kinds = [*exact, first, self.presets, *narrowings]
        found: list[list[Fitting]] = []
        for number, kind in enumerate(kinds):
            self.report(number, len(kinds))
            if any(found) and not self.in_time():
                self.untried = len(kinds) - number
                break
            found.append(list(kind()))
        self.report(len(kinds), len(kinds))
        fitting = [each for several in found for each in several]
        return sorted(fitting, key=lambda each: each.change.keeps_scores)  # of equal ones the narrowing stays

    def limits(self) -> tuple[tuple[Violation, ...], tuple[str, ...]]:
        """Return what the network exceeds when everything is narrowed as far as it is tried, and how that was done."""
        top = tuple(len(ladder.rungs) for ladder in self.ladders)
        change = change_of(self.ladders, top, self.compiler.populations)
        found = self.attempt(change)
        words = tuple(change.words(self.compiler.levels))
        return (found.violations, words) if isinstance(found, Refused) else (self.compiler.unchanged()[0], ())


def fit(
    source: str,
    chip: str = DEFAULT_CHIP,
    options: CompileOptions | None = None,
    *,
    calibration: Images | Dataset | None = None,
    dataset: Images | Dataset | None = None,
    choice: str = "",
    folder: str = ".",
    tell: Callable[[str], None] = lambda _: None,
    report: Callable[[int, int], None] | None = None,
    budget: float = BUDGET,
) -> FitResult:
    """Look for the smallest changes with which a network fits a chip.

    Parameters
    ----------
    source : str
        Path of an ONNX model.
    chip : str
        A preset or the path of a chip YAML.
    options : CompileOptions, optional
        What holds for all changes.
    calibration : Images or Dataset, optional
        What changes are chosen on.
    dataset : Images or Dataset, optional
        What the accuracy of the chosen ones is reported on; it decides nothing.
    choice : str
        How a report says where the calibration images come from.
    folder : str
        Where the files of the commands are to be written.
    tell, report : callable
        Told what is being done, and how many of the steps are done.
    budget : float
        Seconds after which no further kind of change is begun, once something fits; a kind that was begun ends.

    Raises
    ------
    ModelError
        The network cannot be compiled for any chip.
    UsageError, InputError
    """
    start, options = time.perf_counter(), options or CompileOptions()
    calibration, dataset = (Images.of(data) if isinstance(data, Dataset) else data for data in (calibration, dataset))
    if nir_path(source, options) is not None:
        text = "is a NIR file, and fit changes ONNX models; compile it with --weight-bits, or for a larger grid"
        raise ModelError(source, text, code="fit-nir", found=source)
    target = load_any_chip(chip)
    model, graph = front(source, options)
    compiler = Compiler(source, options, target, model, graph, calibration, dataset, tell)
    tell("compiling the network as it is")
    violations, now = compiler.unchanged()
    if not violations:
        whole = compiler.compile(Change())
        assert isinstance(whole, Fitting)
        found = [found_of(compiler.reported(whole), 1, compiler.levels, source, chip, folder, options)]
        return _result(compiler, found, now, (), (), choice, start)
    image = graph.encoder.name if is_image(model, graph) else None
    sample = None if calibration is None else calibration.head(SAMPLE)
    tell("measuring what fewer levels, weight bits and channels cost")
    in_time = partial(_within, start, budget)
    ladders = ladders_of(model, graph, target, sample, image, partial(_within, start, MEASURING * budget))
    search = _Search(compiler, ladders, image, report or (lambda done, total: None), in_time)
    fitting = search.all(now)
    chosen = [compiler.reported(each) for each in chosen_of(fitting)]
    remaining, narrowest = ((), ()) if chosen else search.limits()
    found = [found_of(each, number, compiler.levels, source, chip, folder, options) for number, each in enumerate(chosen, 1)]
    return _result(compiler, found, now, remaining, narrowest, choice, start, search.untried)


def _within(start: float, budget: float) -> bool:
    """Return whether less than a number of seconds has gone by."""
    return time.perf_counter() - start < budget


def _result(
    compiler: Compiler, found: list[Found], now: Counted, remaining: tuple[Violation, ...], narrowest: tuple[str, ...],
    choice: str, start: float, untried: int = 0,
) -> FitResult:  # fmt: skip
    return FitResult(
        model_sha256=compiler.model.sha256,
        chip=compiler.chip,
        fits=any(each.kind == "none" for each in found),
        cores=None if now.beyond else now.cores,
        estimated=now.estimated,
        found=tuple(found),
        tried=compiler.tried,
        untried=untried,
        remaining=remaining,
        narrowest=narrowest,
        choice=choice,
        calibration=compiler.baseline(compiler.calibration),
        dataset=compiler.baseline(compiler.dataset),
        seconds=time.perf_counter() - start,
    )
