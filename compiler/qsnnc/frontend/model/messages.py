"""What errors say of a file, a node, and in another library's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsnnc.errors import ModelError

if TYPE_CHECKING:
    import onnx


def refuse(path: Path, text: str, code: str, **fields: Any) -> ModelError:
    """An error of the file as a whole."""
    return ModelError(str(path), text, code=code, **fields)


def first_line(error: Exception, most: int = 160) -> str:
    """What another library says, in one line."""
    text = " ".join(str(error).split("==> Context")[0].split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def label(node: onnx.NodeProto) -> str:
    """How a node is named to people."""
    return node.name or next((name for name in node.output if name), "") or node.op_type
