"""Parse YAML without tags, anchors, aliases and duplicate keys, with the line of every key."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

#: of the description of a mapping, as its FORMAT.md says
MOST_BYTES = 4 << 20
#: of a file that a user writes: what takes seconds, not minutes, whatever it holds
MOST_WRITTEN = 1 << 20


class YamlError(ValueError):
    """Text that is not plain YAML; ``line`` counts from one."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def load(content: bytes) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    """Parse plain YAML.

    Returns
    -------
    value : object
    lines : dict
        Path of every key and element to its line.

    Raises
    ------
    YamlError
        Broken YAML, or more than plain data.
    """
    if len(content) > MOST_BYTES:
        raise YamlError(1, f"is larger than {MOST_BYTES} bytes")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = content.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise YamlError(_line(event), "anchors and aliases are not allowed")
            if getattr(event, "tag", None):
                raise YamlError(_line(event), "tags are not allowed")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 20:
                raise YamlError(_line(event), "is nested too deeply")
        reader = loader(text)
        try:
            node = reader.get_single_node()
            lines: dict[tuple[str | int, ...], int] = {}
            _mark(node, (), lines)
            return (None if node is None else reader.construct_document(node)), lines
        finally:
            reader.dispose()
    except UnicodeDecodeError:
        raise YamlError(1, "is not UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, YamlError):
            raise
        mark = getattr(error, "problem_mark", None)
        raise YamlError(mark.line + 1 if mark else 1, str(getattr(error, "problem", error))) from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _mark(node: Node | None, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    if node is None:
        return
    lines[path] = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else str(key)
            if (*path, name) in lines:
                raise YamlError(key.start_mark.line + 1, f"the key {name!r} is given twice")
            _mark(value, (*path, name), lines)
            lines[(*path, name)] = key.start_mark.line + 1
    elif isinstance(node, SequenceNode):
        for number, value in enumerate(node.value):
            _mark(value, (*path, number), lines)
