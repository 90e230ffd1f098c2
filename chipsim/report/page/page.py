"""Put the page together: one HTML file with style, scripts and data, and a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from chipsim.mapping import read_mapping
from chipsim.paicore import read_program
from chipsim.paicore.kind import is_program
from chipsim.provenance import file_sha256
from chipsim.report.page import crossbar_chip, paicore_chip
from chipsim.report.page.evidence import Evidence, evidence_content

#: our scripts in the order in which they are joined; assets/README.md says what each does
SCRIPTS = ("data", "format", "table", "chip", "weights", "inspector", "search", "network", "figures", "main")


def page(file: str | Path, evidence: Evidence | None = None) -> str:
    """Make the page of a mapping.

    Parameters
    ----------
    file : path
        A ``.map`` or a ``.paicore``.
    evidence : Evidence, optional
        What else is known of it: the JSON of a run and of the compilation, the ONNX model, the data set.

    Returns
    -------
    str
        An HTML document that loads nothing.

    Raises
    ------
    MappingError, InputError
        A file cannot be read, or belongs to another mapping.
    """
    name = str(file)
    content = paicore_chip.content(read_program(name)) if is_program(name) else crossbar_chip.content(read_mapping(name))
    content["map_sha256"] = file_sha256(name)
    content["schema"] = "qsnnc-page/1"
    content["title"] = f"{Path(name).stem} on {content['chip']['name']}"
    content |= evidence_content(evidence or Evidence(), content)
    return document(content)


def document(content: dict[str, Any]) -> str:
    """Return the HTML document that shows this content."""
    style, library = _asset("assets/page.css"), _asset("echarts/echarts.min.js")
    joined = "\n".join(_asset(f"assets/{name}.js") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{joined}\nstart();\n}})();\n'
    parts = {
        "POLICY": _policy(style, library, script),
        "TITLE": html.escape(content["title"]),
        "STYLE": style,
        "DATA": _json(content),
        "LIBRARY": library,
        "SCRIPT": script,
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], _asset("assets/page.html"))


def _policy(style: str, *scripts: str) -> str:
    """Content-Security-Policy: these scripts and this style, named by their hashes; no network, no plug-in, no frame."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: dict[str, Any]) -> str:
    """JSON that nothing inside a script element can end: names may hold markup."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    """Return a file of this package as text."""
    found = files("chipsim.report.page")
    for part in name.split("/"):
        found = found.joinpath(part)
    return found.read_text(encoding="utf-8")
