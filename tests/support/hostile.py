"""Draw what hostile and unlucky hands do to the command lines: words, files, environments, streams, rights, signals.

`workshop` makes a folder of good inputs once; `draw` makes a case of a number, the same one each time; `Case.check` says what
an outcome must be, whatever was drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chipsim.paths import PATIENCE
from support.places import MODELS, ROOT

#: exit codes that the commands document, but for 70: an internal error is what is looked for
CODES = {0, 1, 2, 3, 4, 130}
LONG, LOOP, DANGLING = "x" * 300, "loop", "dangling"
#: nobody but another user may read it, or search it
LOCKED = "locked"
NUMBERS = [
    "0", "1", "2", "3", "-1", "-7", "5", "1e3", "2.0", "nan", "inf", "-inf", "1e999", "", " 3 ", "0x10", "ten", "1_0", "٣",
    "true", "9" * 5000, "1" + "0" * 12, str(1 << 31), str((1 << 63) - 1), str(1 << 63), "0.5", "1.0000001", "-0", "+4",
]  # fmt: skip
TEXTS = [
    "", "-", "mini", "xbar1152", "paicore25", "mnist", "digits", "a" * 5000, "$x^$", "ü→", "conv1", "all", "noise=conv1", "\udcff",
    "../..", "{}", "%s", "--", "a\nb", "\x1b[2J", "host", "chip", "cycle", "raw", "0.1,0.3", "conv1=4", "conv1=" + "9" * 5000, "uniform",
    "transpose", "4x4", "1024x1024", "0x0", "train", "test", "noise", "0,0.1", "0.1,nan", "stuck_axons=1",
]  # fmt: skip
ENCODINGS = ["utf-8", "utf-8", "utf-8", "latin-1", "ascii", "cp1252"]
ENVIRONMENTS: list[dict[str, str | None]] = [
    {}, {}, {}, {"COLUMNS": "99999999"}, {"COLUMNS": "1"}, {"COLUMNS": "²"}, {"COLUMNS": "-5"}, {"TERMINAL_WIDTH": "wide"},
    {"MPLBACKEND": "nonsense"}, {"MPLBACKEND": "tkagg"}, {"HOME": "/nonexistent"}, {"HOME": "/proc/1"}, {"HOME": None},
    {"TMPDIR": "/nonexistent"}, {"LC_ALL": "C"}, {"LANG": "xx_YY"}, {"NO_COLOR": "1", "TERM": "dumb"}, {"FORCE_COLOR": "1"},
    {"XDG_CACHE_HOME": "/dev/null"}, {"LINES": "abc"}, {"TZ": "nowhere"},
]  # fmt: skip

RUN = ["chipsim", "run", "@map", "--dataset", "@data"]
#: commands with places for files; each is also drawn with more options from `OPTIONS`
COMMANDS: list[list[str]] = [
    RUN, RUN, [*RUN, "--json", "@out"], [*RUN, "--json", "@out", "--outputs", "@out", "--per-core", "@out"],
    [*RUN, "--logs", "@out", "--json", "@out"], [*RUN, "--per-image", "@out"], [*RUN, "--timing", "cycle", "--json", "@out"],
    ["chipsim", "run", "@paicore", "--dataset", "@data", "--json", "@out"],
    ["chipsim", "compare", "@map", "--model", "@model", "--dataset", "@data"],
    ["chipsim", "area", "@map", "--json", "@out"],
    ["chipsim", "trace", "@map", "--dataset", "@data", "-o", "@out.vcd"],
    ["chipsim", "sweep", "@map", "--dataset", "@data", "--fault", "noise", "--rates", "0,0.1", "--seeds", "2", "--csv", "@out"],
    ["chipsim", "network", "--mesh", "3x3", "--traffic", "@csv", "--json", "@out"],
    ["chipsim", "network", "--mesh", "3x3", "--cycles", "50"],
    ["chipsim", "data", "digits", "-o", "@out"],
    ["chipsim", "plot", "sops", "@result", "-o", "@out.svg"], ["chipsim", "plot", "accuracy", "@result", "-o", "@out.png"],
    ["chipsim", "plot", "map", "@result", "-o", "@out.svg"], ["chipsim", "plot", "links", "@result", "-o", "@out.svg"],
    ["chipsim", "plot", "ticks", "@result", "-o", "@out.pdf"], ["chipsim", "plot", "faults", "@result", "-o", "@out.svg"],
    ["qsnnc", "compile", "@model", "-o", "@out", "--chip", "@chip"],
    ["qsnnc", "compile", "@model", "-o", "@out", "--chip", "mini", "--json", "@out"],
    ["qsnnc", "check", "@model", "--chip", "@chip", "--json", "@out"],
    ["qsnnc", "verify", "@model", "--samples", "3", "--json", "@out"],
    ["qsnnc", "verify", "@model", "--dataset", "@data", "--repro", "@out"],
    ["qsnnc", "inspect", "@map", "--json", "@out"], ["qsnnc", "inspect", "@map", "--core", "0", "--yaml"],
    ["qsnnc", "export", "@paicore", "--words", "@out"], ["qsnnc", "chips"], ["qsnnc", "chips", "@chip"],
    ["chipsim", "--help"], ["qsnnc", "compile", "--help"], ["qsnnc", "--version"], ["chipsim"],
]  # fmt: skip
OPTIONS: dict[str, list[tuple[str, list[str]]]] = {
    "run": [
        ("--limit", NUMBERS), ("--threads", NUMBERS), ("--batch", NUMBERS), ("--noise", NUMBERS), ("--seed", NUMBERS),
        ("--timing-limit", NUMBERS), ("--timing", TEXTS), ("--engine", TEXTS), ("--split", TEXTS), ("--data-dir", ["@out", "/nope"]),
        ("--faults", ["@yaml"]), ("--avoid", ["@yaml"]), ("--quiet", []),
    ],
    "compare": [("--limit", NUMBERS), ("--split", TEXTS)],
    "trace": [("--image", NUMBERS), ("--packets", NUMBERS), ("--mode", TEXTS)],
    "sweep": [("--seeds", NUMBERS), ("--seed", NUMBERS), ("--fault", TEXTS), ("--rates", TEXTS + NUMBERS), ("--plot", ["@out.svg"])],
    "network": [
        ("--buffer", NUMBERS), ("--rate", NUMBERS), ("--cycles", NUMBERS), ("--warmup", NUMBERS), ("--router-cycles", NUMBERS),
        ("--seed", NUMBERS), ("--chip", ["@chip"]), ("--mesh", TEXTS), ("--multicast", []),
    ],
    "data": [("--split", TEXTS), ("--data-dir", ["@out"])],
    "plot": [("--published", []), ("--quiet", [])],
    "compile": [
        ("--effort", NUMBERS), ("--seed", NUMBERS), ("--levels", TEXTS), ("--pixels", TEXTS), ("--encoder", TEXTS), ("--code", TEXTS),
        ("--calibrate", ["@data"]), ("--limit", NUMBERS), ("--avoid", ["@yaml"]), ("--output", TEXTS), ("--time", []),
    ],
    "check": [("--levels", TEXTS), ("--pixels", TEXTS), ("--avoid", ["@yaml"]), ("--quiet", [])],
    "verify": [("--samples", NUMBERS[:12]), ("--seed", NUMBERS), ("--levels", TEXTS), ("--data-dir", ["/nope"]), ("--quiet", [])],
    "inspect": [("--core", NUMBERS), ("--layer", TEXTS)],
    "chips": [("--yaml", [])],
}  # fmt: skip
#: good inputs of the workshop, by place
GOOD = {
    "@map": ["m.map"], "@paicore": ["p.paicore"], "@data": ["d.npz", "d.npz", "digits"], "@model": ["m.onnx", "e.onnx"],
    "@chip": ["mini", "c.yaml"], "@yaml": ["f.yaml", "a.yaml"], "@csv": ["t.csv", "uniform"], "@result": ["r.json", "s.json", "damaged.json"],
}  # fmt: skip
HOSTILE_FILES = [
    LONG, LOOP, DANGLING, "folder", "folder/", "none/x", "fifo", "/dev/zero", "/dev/null", "/dev/full", f"{LOCKED}/in", f"{LOCKED}", "",
    "caf\udce9", "empty", "m.map", "d.npz", "m.onnx", "e.onnx.data", "c.yaml", "f.yaml", "r.json", "sparse.json", "a" * 250, "/" + "y/" * 3000,
    "member.npz", "labels.npz", "./m.map", "hard.map", "/proc/self/mem", "deep.json", "int.yaml", "-", "new", "new2", "ü.x", "\x1b[31m",
]  # fmt: skip


def workshop(folder: Path) -> None:
    """Make the good inputs, and the bad ones that are files."""
    import onnx
    from onnx import external_data_helper

    import chipsim
    from chipsim.paicore import write_program
    from support.random_programs import random_program

    shutil.copy(ROOT / "mappings" / "tiny-mini.map", folder / "m.map")
    shutil.copy(MODELS / "tiny.onnx", folder / "m.onnx")
    os.link(folder / "m.map", folder / "hard.map")
    model = onnx.load(MODELS / "tiny.onnx")
    external_data_helper.convert_model_to_external_data(model, location="e.onnx.data", size_threshold=16)
    onnx.save(model, folder / "e.onnx")
    write_program(random_program(1), folder / "p.paicore")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 28, 28)).astype(np.uint8)
    np.savez(folder / "d.npz", images=images, labels=np.arange(12) % 10)
    np.savez(folder / "labels.npz", images=images, labels=np.arange(12) + 5)
    _member(folder / "member.npz")
    found = chipsim.run(folder / "m.map", folder / "d.npz").to_json()
    found |= chipsim.profile_json(chipsim.profile(folder / "m.map", folder / "d.npz"))
    (folder / "r.json").write_text(json.dumps(found))
    swept = chipsim.sweep(folder / "m.map", folder / "d.npz", ["noise"], [0.1, 0.2], seeds=2)
    (folder / "s.json").write_text(json.dumps(swept.to_json()))
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "c.yaml").write_text("base: mini\nname: eigen-ü→\n")
    (folder / "f.yaml").write_text("dead_neurons: {rate: 0.01, seed: 1}\n")
    (folder / "a.yaml").write_text("cores: [[3, 3]]\n")
    (folder / "int.yaml").write_text("base: mini\nweight_bits: [true]\nstuck_axons: {rate: 0.1, at: true}\n")
    (folder / "t.csv").write_text("source_x,source_y,destination_x,destination_y,cycle\n0,0,2,2,0\n1,1,0,0,3\n")
    (folder / "empty").write_bytes(b"")
    with open(folder / "sparse.json", "wb") as file:
        file.truncate(100 << 30)
    (folder / "folder").mkdir()
    (folder / LOOP).symlink_to(LOOP)
    (folder / DANGLING).symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    (folder / "caf\udce9").write_text("base: mini\n")
    (folder / LOCKED).mkdir()
    (folder / LOCKED / "in").write_text("x")
    for path in (folder / LOCKED / "in", folder / LOCKED):
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
        path.chmod(0o700 if path.name == LOCKED and os.getuid() == 0 else 0o000)


def unlock(folder: Path) -> None:
    """Make a folder removable again for whoever is not root."""
    if (folder / LOCKED).exists():
        (folder / LOCKED).chmod(0o700)


def _member(path: Path) -> None:
    """Write an npz whose member ``images`` is no array."""
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"no array")


@dataclass
class Case:
    """One case: what is started, and how."""

    number: int
    words: list[str]
    outputs: set[str] = field(default_factory=set)  # words that name a product
    environment: dict[str, str | None] = field(default_factory=dict)
    encoding: str = "utf-8"
    stdout: str = "file"  # file, closed, full
    rights: bool = True
    gone: bool = False
    signal: int = 0
    after: float = 0.0
    damaged: bytes = b""
    process: bool = False  # of its own, with all of its start

    def __str__(self) -> str:
        said = {
            name: value
            for name, value in vars(self).items()
            if value and name not in ("words", "outputs", "damaged", "number")
        }
        return f"case {self.number}: {' '.join(ascii(word)[1:-1][:80] for word in self.words)} {said}"


def draw(number: int, results: list[bytes]) -> Case:
    """Draw a case; ``results`` are results of good runs and sweeps, of which damaged ones are made."""
    rng = random.Random(number)
    template = rng.choice(COMMANDS)
    outputs: set[str] = set()
    words = [_fill(word, rng, outputs) for word in template]
    verb = template[1] if len(template) > 1 else ""
    for option, values in rng.sample(OPTIONS.get(verb, []), min(len(OPTIONS.get(verb, [])), rng.choice([0, 0, 1, 1, 2, 4]))):
        words += [option, *([_fill(rng.choice(values), rng, outputs)] if values else [])]
    if rng.random() < 0.05:
        words.insert(rng.randrange(1, len(words) + 1), rng.choice(TEXTS))
    case = Case(number, words, outputs)
    case.environment = rng.choice(ENVIRONMENTS)
    case.encoding = rng.choice(ENCODINGS)
    case.stdout = rng.choice(["file"] * 8 + ["closed", "full"])
    case.rights = rng.random() < 0.85
    case.process = rng.random() < 0.1
    case.gone = rng.random() < 0.05 and not case.process  # some interpreters do not start there
    if rng.random() < 0.15:
        case.signal = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        case.after = rng.choice([0.05, 0.2, 0.5, 1.0]) * (3 if case.process else 1)
    case.damaged = damage(rng.choice(results), rng)
    return case


def _fill(word: str, rng: random.Random, outputs: set[str]) -> str:
    place, dot, suffix = word.partition(".") if word.startswith("@") else (word, "", "")
    if place == "@out":
        name = rng.choice(["new", "new2", "new3"] if rng.random() < 0.6 else HOSTILE_FILES)
        name += dot + suffix if rng.random() < 0.9 else ""
        outputs.add(name)
        return name
    if place in GOOD:
        return rng.choice(GOOD[place] if rng.random() < 0.75 else HOSTILE_FILES)
    return word


def damage(content: bytes, rng: random.Random) -> bytes:
    """Damage a result: some values become others, or go; or the text itself is cut or changed."""
    if rng.random() < 0.15:
        at = rng.randrange(len(content))
        return content[:at] if rng.random() < 0.5 else content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    value = json.loads(content)
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        _replace(value, rng)
    return json.dumps(value).encode()


def _replace(value: Any, rng: random.Random) -> None:
    strange: list[Any] = [
        None, True, -1, -1e9, 0, 2.5, 1e300, 10**30, float("nan"), float("inf"), "", "$x^$", "_hidden", "a" * 5000, "\udcff", "ü\n\x1b",
        [], {}, [[]], [1, 2, 3], {"a": 1}, 1 << 62, [None] * 3, "0.5", 1.5,
    ]  # fmt: skip
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.75:
            value = inner
            continue
        if rng.random() < 0.15:
            del value[key]
        elif rng.random() < 0.1 and isinstance(value, list):
            value.append(inner)
        else:
            value[key] = rng.choice(strange)
        return


def request(case: Case, folder: Path, streams: Path, temporary: Path) -> dict[str, Any]:
    """What the fork server is asked for."""
    environment = {
        "PATH": os.environ.get("PATH", ""), "HOME": str(streams), "TMPDIR": str(temporary), "PYTHONIOENCODING": case.encoding,
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "chipsim-tests")),
        "PYTHONPATH": os.pathsep.join(sys.path), "MPLCONFIGDIR": str(streams),
    }  # fmt: skip
    for name, value in case.environment.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    start = streams / "gone" if case.gone else folder
    start.mkdir(exist_ok=True)
    return {
        "words": [os.fsencode(word).decode("latin-1") for word in case.words], "environment": environment, "folder": str(start),
        "gone": case.gone, "encoding": case.encoding, "stderr": str(streams / "stderr"), "rights": case.rights,
        "stdout": {"file": str(streams / "stdout"), "closed": None, "full": "/dev/full"}[case.stdout],
        "signal": case.signal, "after": case.after,
    }  # fmt: skip


def content(folder: Path) -> dict[str, str]:
    """What lies in a folder: names, kinds, and digests of small files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest = ""
        if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24 and os.access(path, os.R_OK):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = f"{stat.S_IFMT(status.st_mode):o} {digest}"
    return found


def products(case: Case) -> set[str]:
    """Names that the words of a case may make, as they are given; their folders may be made too."""
    return {os.path.normpath(word) for word in case.words} | {f"{case.words[2] if len(case.words) > 2 else ''}.png"}


def wrong(
    case: Case, answer: dict[str, Any], errors: str, before: dict[str, str], after: dict[str, str], left: list[str]
) -> list[str]:
    """Everything that is wrong with an outcome; nothing is."""
    code = answer["code"]
    lines = [line for line in errors.splitlines() if not line.startswith("still working: ")]
    found = []
    killed = case.signal and code == -case.signal and case.process  # before anything of ours was loaded
    if code not in CODES and not killed:
        found.append(f"exit code {code}")
    if "Traceback" in errors or "Exception ignored" in errors:
        found.append("a traceback")
    several = case.words[:2] == ["qsnnc", "check"] or code in (0, 1)  # one line for each problem; warnings of the chip
    if code in (2, 3, 4, 130) and len(lines) > 1 and not several:
        found.append(f"{len(lines)} lines")
    if code in (3, 4) and not lines:
        found.append("no line")
    replaced = {os.path.normpath(word) for word in case.outputs} - _inputs(case)
    changed = [name for name in before if after.get(name) != before[name] and name not in replaced]
    if changed:
        found.append(f"changed or lost: {changed}")
    made = {name for name in set(after) - set(before) if not any(_belongs(name, each) for each in products(case))}
    if made:
        found.append(f"left in the folder: {sorted(made)}")
    if left:
        found.append(f"left in the temporary folder: {left}")
    if answer["seconds"] > 60 + PATIENCE:
        found.append(f"{answer['seconds']:.0f} s")
    if answer["memory"] > 2 << 30:
        found.append(f"{answer['memory'] / 2**30:.1f} GB")
    return found


def _inputs(case: Case) -> set[str]:
    """Names of the files that a case reads: none of them may be replaced, even if a word names it as a product."""
    given = [word for word in case.words if word not in case.outputs or case.words.count(word) > 1]
    others = ["e.onnx.data"] if "e.onnx" in case.words else []
    return {os.path.normpath(name) for name in (*given, *others)}


def _belongs(name: str, product: str) -> bool:
    return name == product or name.startswith(f"{product}/") or (product == DANGLING and name == "nowhere")
