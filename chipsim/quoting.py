"""Quote an error of onnxruntime or onnx in one line, with the words that decide."""

from __future__ import annotations

import re

#: characters of a quotation
MOST = 300
#: how onnx begins what it says of a node; what it says of a second follows from the first
_NODE = re.compile(r" (?=\(op_type:)")
#: what onnxruntime puts before its message: a code, and the place in its own source
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S*/\S+\.(?:cc|h|cpp|hpp|cu):\d+ [^()]*\(")
#: what it puts before "Opset N is under development"
_OFFICIAL = "ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. "


def quote(error: object, most: int = MOST) -> str:
    """Return another library's message in one line; a long one is cut in the middle, since its end says what is wrong.

    The code and the source places of onnxruntime, with their C++ signatures, are left out.
    """
    text = _CODE.sub("", " ".join(str(error).split("==> Context")[0].split())).replace(_OFFICIAL, "")
    while (place := _PLACE.search(text)) is not None:
        text = text[: place.start()] + text[_closing(text, place.end()) :].removeprefix(" const").lstrip()
    text = " ".join(_NODE.split(text)[:2])
    if len(text) <= most:
        return text
    end = most * 2 // 3
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def _closing(text: str, start: int) -> int:
    """Return the position behind the parenthesis that closes the one before ``start``; of none, ``start``."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    return start
