"""Dead cores and links of one particular chip, and the chip without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from chipsim.chip.paicore import PaicoreSpec
from chipsim.chip.routes import cut_off
from chipsim.chip.spec import BaseChip, ChipSpec, Link, Place
from chipsim.document import Document, read
from chipsim.errors import InputError

Source = str | Path | Mapping[str, Any]


class Broken(BaseModel):
    """Dead cores (x, y) and dead links (two neighbours) of a chip, as a file of `--avoid` lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    cores: Annotated[tuple[Place, ...], Field(strict=False)] = ()
    links: Annotated[tuple[Link, ...], Field(strict=False)] = ()


def load_broken(source: Source) -> Document[Broken]:
    """Read ``cores: [[x, y], ...]`` and ``links: [[[x, y], [x, y]], ...]`` from a YAML file, or take a dictionary.

    Raises
    ------
    InputError
        File, line, what was found, what is allowed.
    """
    return read(source, Broken, "a list of dead cores and links", "avoid-invalid")


def without(chip: ChipSpec, source: Source | None) -> ChipSpec:
    """Return the chip with the dead cores and links of a file, besides its own, and with cores that they cut off.

    Raises
    ------
    InputError
        The file cannot be used, a place is not on the grid, a port is cut off, or no core is left.
    """
    if source is None:
        return working(chip)
    found = load_broken(source)
    for number, place in enumerate(found.content.cores):
        check_place(chip, place, found.at("cores", number))
    for number, link in enumerate(found.content.links):
        check_link(chip, link, found.at("links", number))
    return working(with_dead(chip, found.content.cores, found.content.links))


def without_cores(chip: PaicoreSpec, source: Source | None) -> PaicoreSpec:
    """`without` for a chip of kind paicore, whose links nobody has said can be dead apart from a core.

    Raises
    ------
    InputError
        As `without`, and where the file lists links.
    """
    if source is None:
        return chip
    found = load_broken(source)
    if found.content.links:
        text = f"chip {chip.name!r} has no links that can be avoided; allowed: cores"
        raise InputError(found.at("links"), text, code="avoid-invalid", allowed="cores")
    for number, place in enumerate(found.content.cores):
        check_place(chip, place, found.at("cores", number))
    left = chip.model_copy(update={"dead_cores": tuple(sorted({*chip.dead_cores, *found.content.cores}))})
    if not left.cores:
        raise InputError(f"chip {chip.name!r}", "has no core that works; use another chip", code="chip-dead")
    return left


def with_dead(chip: ChipSpec, cores: tuple[tuple[int, int], ...], links: tuple[Any, ...]) -> ChipSpec:
    """Return the chip with more dead cores and links, each once and in order."""
    dead_links = {tuple(sorted(link)) for link in (*chip.dead_links, *links)}
    dead_cores = {*chip.dead_cores, *cores}
    return chip.model_copy(update={"dead_cores": tuple(sorted(dead_cores)), "dead_links": tuple(sorted(dead_links))})


def working(chip: ChipSpec) -> ChipSpec:
    """Return the chip with the cores marked dead that dead links cut off from the host.

    Raises
    ------
    InputError
        A port is cut off, or no core is left.
    """
    if chip.dead_links:
        chip = with_dead(chip, cut_off(chip), ())
    if chip.cores < 1:
        raise InputError(
            f"chip {chip.name!r}", "has no working core that the host can reach; use another chip", code="chip-dead"
        )
    return chip


def check_place(chip: BaseChip, place: tuple[int, int], where: str) -> None:
    """Refuse a place that is not on the grid."""
    x, y = place
    width, height = chip.grid
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(
            where,
            f"there is no core [{x}, {y}] on chip {chip.name!r}; allowed: x from 0 to {width - 1}, y from 0 to {height - 1}",
            code="place-unknown",
            found=[x, y],
            allowed=[width, height],
        )


def check_link(chip: ChipSpec, link: tuple[tuple[int, int], tuple[int, int]], where: str) -> None:
    """Refuse a link that does not join two neighbours of the grid."""
    for end in link:
        check_place(chip, end, where)
    (x, y), (to_x, to_y) = link
    if abs(x - to_x) + abs(y - to_y) != 1:
        raise InputError(
            where,
            f"[{x}, {y}] and [{to_x}, {to_y}] are not neighbours; allowed: two cores that differ by 1 in x or in y",
            code="place-unknown",
            found=[[x, y], [to_x, to_y]],
            allowed="neighbours",
        )
