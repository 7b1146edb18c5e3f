"""Records of files as they are written: a Parquet file is read as far as it is asked for."""

from __future__ import annotations

import io

import numpy as np
import pyarrow
from pyarrow import parquet

from zoo.datasets import records
from zoo.datasets.source import Member


class Counting(io.BytesIO):
    """Bytes that count how many of them were read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.taken += len(found)
        return found


def test_no_more_of_a_parquet_file_is_held_than_is_asked_for(tmp_path):
    """Twenty groups of rows: with the first of them, the others are still in the file."""
    path = tmp_path / "rows.parquet"
    table = pyarrow.table({"x": np.random.default_rng(0).normal(size=200_000)})
    parquet.write_table(table, path, row_group_size=10_000, compression="none")
    member, stream = Member(path.name, path), Counting(path.read_bytes())
    batches = records.batches(member, records.parquet_file(member, stream), ["x"], 10_000)
    assert len(next(batches)) == 10_000
    assert stream.taken < 0.3 * path.stat().st_size
    assert sum(len(batch) for batch in batches) == 190_000
