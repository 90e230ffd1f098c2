"""Format errors about a file or a node, and quote another library's error in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim.codes import Code
from chipsim.qonnx_ops import origins
from chipsim.quoting import quote
from qsnnc.errors import ModelError

if TYPE_CHECKING:
    import onnx


#: what may be a name in a message: all between quotes, or a word
_NAME = re.compile(r"(?<=')[^']+(?=')|[^\s'(),;]+(?<![:.])")


def refuse(path: Path, text: str, code: Code, **fields: Any) -> ModelError:
    """Return an error about the file as a whole."""
    return ModelError(str(path), text, code=code, **fields)


def first_line(error: Exception) -> str:
    """Return another library's message in one line."""
    return quote(error)


@contextmanager
def names_of_file(*graphs: Iterable[onnx.NodeProto]) -> Iterator[None]:
    """Name nodes and tensors that a rewrite made, in errors raised inside, as those of the file that they came from.

    Parameters
    ----------
    graphs : iterable of NodeProto
        The nodes of the rewritten forms of the model.
    """
    try:
        yield
    except ModelError as error:
        names = origins(node for graph in graphs for node in graph)
        for problem in {id(entry): entry for entry in (error, *error.problems)}.values():
            message = _NAME.sub(lambda match: names.get(match[0], match[0]), problem.message)
            node = problem.fields["node"]
            problem.rename(names.get(problem.subject, problem.subject), message, names.get(str(node), node))
        raise


def label(node: onnx.NodeProto) -> str:
    """Return the name of a node for messages."""
    return node.name or next((name for name in node.output if name), "") or node.op_type
