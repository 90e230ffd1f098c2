"""Format errors about a file or a node, and quote another library's error in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim.quoting import quote
from qsnnc.errors import ModelError

if TYPE_CHECKING:
    import onnx


def refuse(path: Path, text: str, code: str, **fields: Any) -> ModelError:
    """Return an error about the file as a whole."""
    return ModelError(str(path), text, code=code, **fields)


def first_line(error: Exception) -> str:
    """Return another library's message in one line."""
    return quote(error)


def label(node: onnx.NodeProto) -> str:
    """Return the name of a node for messages."""
    return node.name or next((name for name in node.output if name), "") or node.op_type
