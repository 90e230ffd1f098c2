"""Compressed in parts on several threads: the bytes are those of one thread, and every reader reads them."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from chipsim.files import write_npz

#: bytes of a part
PART = 1 << 14


@pytest.mark.parametrize("rows", [0, 1, PART // 40 + 1, 9 * PART // 40])
def test_any_number_of_threads_writes_the_same_file(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("chipsim.files.PART", PART)
    random = np.random.default_rng(0)
    arrays = {"a": random.integers(0, 9, (rows, 10)).astype(np.int32), "b": np.arange(7.0)}
    written = []
    for threads in (1, 3):
        file = io.BytesIO()
        write_npz(file, arrays, zipfile.ZIP_DEFLATED, threads)
        written.append(file.getvalue())
    assert written[0] == written[1]
    with zipfile.ZipFile(io.BytesIO(written[0])) as archive:
        assert archive.testzip() is None
        assert all(entry.compress_type == zipfile.ZIP_DEFLATED for entry in archive.infolist())
    found = np.load(io.BytesIO(written[0]))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert rows < 2 or len(written[0]) < arrays["a"].nbytes / 2
