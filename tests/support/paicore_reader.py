"""A reader of ``.paicore`` files, written from FORMAT.md alone: it shares no code with the packages under test."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LANES = {1: 7, 2: 7, 4: 6, 8: 5}
SHIFT = {1: 16, 2: 16, 4: 32, 8: 48}


def bits(word: int, high: int, low: int) -> int:
    return word >> low & (1 << (high - low + 1)) - 1


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def magnitude(value: int) -> int:
    return -(value & 31) if value & 32 else value


class Reader:
    """The words of a file, executed step by step."""

    def __init__(self, path: str | Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.yaml: dict[str, Any] = yaml.safe_load(archive.read("mapping.yaml"))
            self.arrays = {n[7:-4]: np.load(io.BytesIO(archive.read(n))) for n in archive.namelist() if n[:7] == "arrays/"}
        self.cores: dict[tuple[int, int], dict[str, Any]] = {}
        self._load(self.arrays["words"].tolist())

    def _load(self, words: list[int]) -> None:
        at = 0
        while at < len(words):
            header = words[at]
            place = magnitude(bits(header, 53, 48)), magnitude(bits(header, 47, 42))
            kind, start, count = bits(header, 63, 60), bits(header, 22, 14), bits(header, 13, 0)
            body = words[at + 1 : at + 1 + count]
            if kind == 0:
                self.cores[place] = {"registers": body, "rows": [[0, 0] for _ in range(4096)], "table": [0] * 256}
            elif kind == 1:
                self.cores[place]["table"] = body
            else:
                for k in range(count // 2):
                    self.cores[place]["rows"][start * 8 + k] = body[2 * k : 2 * k + 2]
            at += 1 + count
        for core in self.cores.values():
            self._decode(core)

    def _decode(self, core: dict[str, Any]) -> None:
        first, _, third = core["registers"]
        core["ann"], core["max"] = bits(first, 63, 63), bits(first, 62, 62)
        core["in"], core["out"], core["w"] = (1 << bits(first, h, h - 1) for h in (58, 55, 52))
        core["signed"], core["lcn"], core["tick"] = bits(first, 53, 53), bits(first, 50, 47), bits(third, 63, 48)
        core["memory"] = np.zeros(512 << core["lcn"], np.int64)
        rows, end = core["rows"], bits(first, 26, 14)
        core["records"], at, part2 = [], 0, None
        while at < end:
            low, high = rows[at]
            at += 1
            if bits(low, 32, 32):
                part2 = rows[at]
                at += 1
            number, offset, axon = 1, np.zeros(1, int), np.zeros(1, int)
            if bits(low, 33, 33):
                a, b = rows[at]
                number = bits(a, 28, 0)
                y, x = bits(b, 41, 31), bits(b, 52, 42)
                skews = bits(a, 63, 62) | bits(b, 8, 0) << 2, bits(b, 19, 9), bits(b, 30, 20)
                axons = bits(a, 39, 29), bits(a, 50, 40), bits(a, 61, 51)
                pick = [2 if k % (y * x) == 0 else 1 if k % y == 0 else 0 for k in range(1, number)]
                offset = np.cumsum([0, *(skews[p] for p in pick)])
                axon = np.cumsum([0, *(axons[p] for p in pick)])
                at += 1 + (number + 2) // 4
            assert part2 is not None
            compressed, leak = bits(part2[0], 12, 12), signed(bits(part2[0], 32, 13), 20)
            threshold = signed(bits(part2[0], 63, 44) | bits(part2[1], 11, 0) << 20, 32)
            index, weight = self._weights(core, bits(low, 58, 47), bits(low, 46, 35), compressed)
            offset = offset + (bits(low, 63, 59) | bits(high, 10, 0) << 5)
            to = magnitude(bits(high, 40, 35)), magnitude(bits(high, 34, 29)), magnitude(bits(high, 16, 11))
            address = axon + bits(high, 63, 56) * 512 + bits(high, 55, 47)
            core["records"].append((index, weight, offset, leak, threshold, to, address, bits(low, 34, 34)))

    def _weights(self, core: dict[str, Any], start: int, end: int, compressed: int) -> tuple[Any, Any]:
        w, index, weight = core["w"], [], []
        for row, (low, high) in enumerate(core["rows"][start : end + 1]):
            whole = low | high << 64
            if compressed:
                lanes = LANES[w]
                for lane in range(lanes):
                    shift = SHIFT[w] + 16 * lane if lane < lanes - 4 else 64 + 16 * (lane - lanes + 4)
                    index.append(whole >> shift & 0xFFFF)
                    weight.append(whole >> lane * w & (1 << w) - 1)
            else:
                for lane in range(128 // w):
                    index.append((row * (128 // w) + lane) * core["in"])
                    weight.append(whole >> lane * w & (1 << w) - 1)
        values = np.array([signed(v, w) if core["signed"] else v for v in weight], np.int64)
        return np.array(index, np.int64)[values != 0], values[values != 0]

    def run(self, levels: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], dict[tuple[int, int], int]]:
        """Potentials of one image's levels (channels, rows, columns), and spikes of each core."""
        for core in self.cores.values():
            core["memory"][:] = 0
        encoder = self.yaml["encoder"]
        for entry in self.yaml["deliveries"]:
            self._deliver(entry, encoder, levels.reshape(self.yaml["encoder_shape"]))
        out = np.zeros(int(np.prod(self.yaml["layers"][-1]["shape"])), np.int64)
        spikes = dict.fromkeys(self.cores, 0)
        for step in range(1, self.yaml["steps"] + 1):
            for place, core in self.cores.items():
                if core["tick"] == step:
                    self._step(place, core, out, spikes)
        return out, spikes

    def _deliver(self, entry: dict[str, Any], encoder: dict[str, Any], levels: np.ndarray[Any, Any]) -> None:
        steps = entry["steps"]
        for (c, r, k), level in np.ndenumerate(levels):
            if level and entry["first_row"] <= r <= entry["last_row"]:
                base = entry["base"] + c * steps[0] + r * steps[1] + k * steps[2]
                for copy in range(entry["copies"] + 1):
                    memory = self.cores[entry["x"], entry["y"] + copy]["memory"]
                    if encoder["code"] == "value":
                        memory[base] = level
                    else:
                        memory[base + np.arange(level) * steps[3]] = 1

    def _step(self, place: tuple[int, int], core: dict[str, Any], out: Any, spikes: dict[tuple[int, int], int]) -> None:
        for index, weight, offset, leak, threshold, (x, y, copies), address, readout in core["records"]:
            inputs = core["memory"][index[None] + offset[:, None]]
            potential = (inputs.max(axis=1, initial=0) if core["max"] else inputs @ weight) + leak
            if readout:
                out[(address - self.yaml["output"]["base"]) // 32] = potential
                continue
            if core["ann"]:
                value = np.array([self._look_up(core, p) for p in potential.tolist()])
            else:
                value = (potential >= threshold).astype(np.int64)
            spikes[place] += int(np.count_nonzero(value))
            for copy in range(abs(copies) + 1):
                self.cores[place[0] + x, place[1] + y + copy]["memory"][address] = value

    @staticmethod
    def _look_up(core: dict[str, Any], potential: int) -> int:
        width, prefix = core["out"], 0
        for bit in reversed(range(width)):
            tried = prefix | 1 << bit
            if potential >= signed(bits(core["table"][tried * 256 >> width], 39, 8), 32):
                prefix = tried
        return bits(core["table"][prefix * 256 >> width], 7, 0)
