"""Parquet files as they land: read as text files are, and capped before they unfold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from lethe.errors import BadFile
from lethe.interactions.intake.rules import IntakeRules
from tests.interactions.intake.landed import land, lenient, read, refusal


def test_parquet_reads_like_csv_and_keeps_19_digits(tmp_path: Path) -> None:
    big = 1234567890123456789
    table = pa.table(
        {
            "TAGS": [["a"], [], None],
            "USER_ID": pa.array([big, big + 1, None]),
            "ITEM_ID": pa.array(["a", "b", "c"]).dictionary_encode(),
            "TIMESTAMP": pa.array([1500, 2500, 3500], pa.timestamp("ms")),
            "EVENT_VALUE": [1.5, float("nan"), 2.0],
        }
    )
    parquet.write_table(table, tmp_path / "day.parquet")
    rows, _, refused = read(tmp_path, lenient())
    assert rows.column("user").to_pylist() == [str(big)]
    assert rows.column("timestamp").to_pylist() == [1]
    assert refused == {2: "event value: not finite", 3: "user: blank id"}


def test_parquet_faults_refuse_the_file(tmp_path: Path) -> None:
    def written(**columns: Any) -> str:
        base = {"USER_ID": ["u"], "ITEM_ID": ["i"], "TIMESTAMP": [1]}
        parquet.write_table(pa.table({**base, **columns}), tmp_path / "day.parquet")
        with pytest.raises(BadFile) as caught:
            read(tmp_path)
        return caught.value.rule

    assert "holds floats" in written(USER_ID=[17850.0])
    assert "type that we do not read" in written(USER_ID=pa.array([[["u"]]]))
    assert "type that we do not read" in written(USER_ID=pa.array([b"u"]))
    land(tmp_path, b"PAR1 no", "day.parquet")
    assert "cannot be read as parquet" in refusal(tmp_path)


def test_a_parquet_bomb_meets_the_cap_before_it_unfolds(tmp_path: Path) -> None:
    users = pa.DictionaryArray.from_arrays(pa.array([0] * 30_000, pa.int32()), ["u" * 100_000])
    ones = pa.array([1] * 30_000)
    table = pa.table({"USER_ID": users, "ITEM_ID": ["i"] * 30_000, "TIMESTAMP": ones})
    parquet.write_table(table, tmp_path / "day.parquet")
    assert (tmp_path / "day.parquet").stat().st_size < 1_000_000
    with pytest.raises(BadFile, match="when decompressed"):
        read(tmp_path, IntakeRules(maximum_file_bytes=100_000_000))


def test_an_empty_parquet_is_zero_rows(tmp_path: Path) -> None:
    schema = pa.schema([("USER_ID", pa.string()), ("ITEM_ID", "string"), ("TIMESTAMP", "int64")])
    parquet.write_table(schema.empty_table(), tmp_path / "day.parquet")
    assert read(tmp_path)[0].num_rows == 0
