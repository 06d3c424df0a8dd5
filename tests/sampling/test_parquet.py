"""Files are read by other tools as they lie: DuckDB, and pyarrow's data sets, which pandas and Spark read like."""

import re
import struct
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from gateway.sampling import parquet
from gateway.sampling.row import KeptTensor
from gateway.sampling.store import Store, new_part, partition_of
from tests.sampling.kept import row

ROWS = [
    row("1", request_json='{"limit": 5}'),
    row("2", inputs=None, outputs=None, inputs_missing="too_large", outputs_missing="incomplete"),
    row(
        "3",
        inputs=(),
        outputs=(KeptTensor("label", "BYTES", (3,), None, ("a", None, "ü"), (1, 4, 2), "found"),),
    ),
]


def query(text: str) -> list[tuple[Any, ...]]:
    """What DuckDB answers."""
    with duckdb.connect() as connection:
        return connection.execute(text).fetchall()


def stored(folder: Path) -> Path:
    """Rows of two versions on two days, in their places."""
    store = Store(str(folder))
    for version, at in ((1, 1_795_000_000.0), (2, 1_795_000_000.0), (2, 1_795_100_000.0)):
        partition = partition_of("a", version, at)
        store.put(new_part(partition, "w"), parquet.encode([row(f"{version}-{at}", version=version, at=at)]))
    return folder


def test_duckdb_reads_tensors_as_lists(tmp_path: Path) -> None:
    """One query from a folder to the values of one tensor, by arm."""
    path = tmp_path / "part.parquet"
    path.write_bytes(parquet.encode(ROWS))
    found = query(f"""
        SELECT request_id, arm, i.name, i.shape, i.values, i.lengths, i.masked
        FROM (SELECT *, unnest(inputs) AS i FROM '{path}') ORDER BY request_id, i.name
    """)
    assert found == [
        ("1", "candidate", "text", [1], None, [2], "text"),
        ("1", "candidate", "x", [2], [1.0, 2.0], None, None),
    ]
    assert query(f"SELECT request_id, inputs IS NULL, len(outputs) FROM '{path}' ORDER BY 1") == [
        ("1", False, 1),
        ("2", True, None),
        ("3", False, 1),
    ]
    assert query(f"SELECT outputs[1].texts FROM '{path}' WHERE request_id = '3'") == [(["a", None, "ü"],)]
    assert query(f"SELECT sum(1 / inclusion) FROM '{path}'") == [(6.0,)]


def test_the_layout_is_what_readers_of_hives_expect(tmp_path: Path) -> None:
    """Alias, version and date come from the path; a reader opens only the files that it needs."""
    stored(tmp_path)
    files = f"read_parquet('{tmp_path}/**/*.parquet', hive_partitioning = true)"
    found = query(f"SELECT alias, version, date::VARCHAR, count(*) FROM {files} GROUP BY ALL ORDER BY ALL")
    assert found == [
        ("a", 1, "2026-11-18", 1),
        ("a", 2, "2026-11-18", 1),
        ("a", 2, "2026-11-19", 1),
    ]
    dataset = ds.dataset(tmp_path, partitioning="hive")
    assert len(dataset.files) == 3
    table = dataset.to_table(filter=ds.field("version") == 2)
    assert table["date"].to_pylist() == ["2026-11-18", "2026-11-19"]
    assert table["received_at"].type == pa.timestamp("us", "UTC")


def test_the_queries_of_the_guide_work(tmp_path: Path) -> None:
    """As they stand there, on a folder with that name."""
    store = Store(str(tmp_path / "samples"))
    data = b""
    for version, at in ((1, 1_795_000_000.0), (2, 1_795_100_000.0)):
        image = (KeptTensor("image", "FP32", (1, 2), struct.pack("<2d", 1.5, 2)),)
        data = parquet.encode([row(str(version), version=version, at=at, inputs=image, inclusion=0.25)])
        store.put(new_part(partition_of("digits", version, at), "w"), data)
    guide = (Path(__file__).parents[2] / "docs" / "samples.md").read_text()
    (block,) = re.findall(r"^```sql\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    counts, values = (
        each.replace("'samples/", f"'{tmp_path}/samples/") for each in block.strip().split(";")[:2]
    )
    assert query(counts) == [("candidate", 2, 8.0)]
    assert sorted(query(values)) == [
        ("1", 1, "image", [1, 2], [1.5, 2.0]),
        ("2", 2, "image", [1, 2], [1.5, 2.0]),
    ]
    assert set(pq.read_schema(pa.BufferReader(data)).names) <= {*re.findall(r"`([a-z_]+)`", guide)}


def test_all_files_have_one_schema(tmp_path: Path) -> None:
    """Also those whose columns are all empty: they can be read together."""
    schemas = [pq.read_schema(pa.BufferReader(parquet.encode([each]))) for each in ROWS]
    assert schemas[0].equals(schemas[1])
    assert schemas[0].equals(schemas[2])


def test_rows_of_subjects_are_taken_out() -> None:
    """By subject and by principal, up to the moment; a file without any is left as it is, one with nothing else goes."""
    data = parquet.encode(
        [row("1", subject="s", at=100.0), row("2", principal="s", at=99.5), row("3", subject="s", at=100.5)]
    )
    left, taken = parquet.without_subjects(data, {"s": 100.0, "t": 200.0})
    assert taken == 2
    assert left is not None
    table = pq.read_table(pa.BufferReader(left))
    assert table["request_id"].to_pylist() == ["3"]
    assert table.schema.equals(pq.read_schema(pa.BufferReader(data)))
    assert parquet.without_subjects(data, {"t": 200.0}) == (data, 0)
    assert parquet.without_subjects(data, {"s": 200.0}) == (None, 3)
