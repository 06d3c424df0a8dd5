"""Rows as a Parquet file, and what is asked of such files. pyarrow is loaded here, once samples are really kept.

Alias, version and date are in a file's path (`store`), as readers of Hive's layout expect; the rest is in the file.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gateway.sampling.row import KeptTensor, SampleRow

SCHEMA_VERSION = "1"
_COMPRESSION = "zstd"


def load() -> None:
    """Load pyarrow, and numpy with it. It holds up a process for tens of milliseconds in all: better before the first call."""
    import pyarrow.parquet  # noqa: F401 - loaded for later


def encode(rows: Sequence[SampleRow]) -> bytes:
    """A whole file."""
    import pyarrow as pa

    return write(pa.table(dict(_columns(rows))).replace_schema_metadata({"maas.samples": SCHEMA_VERSION}))


def write(table: Any) -> bytes:
    """A table as a file."""
    import pyarrow as pa
    from pyarrow import parquet

    out = pa.BufferOutputStream()
    parquet.write_table(table, out, compression=_COMPRESSION)
    return bytes(out.getvalue())


def without_subjects(data: bytes, subjects: "dict[str, float]") -> tuple[bytes | None, int]:
    """The file without the rows of these subjects that were taken up to each one's moment (Unix seconds), and how many
    those were. None: there is no row left. The very file where there was none to take out.
    """
    import pyarrow as pa
    from pyarrow import parquet

    source = pa.BufferReader(data)
    columns = parquet.read_table(source, columns=["received_at", "principal", "subject"])
    at = columns["received_at"].cast(pa.int64()).to_numpy() / 1e6
    gone = np.zeros(len(at), bool)
    for name in ("principal", "subject"):
        until = [subjects.get(digest, -1.0) for digest in columns[name].to_pylist()]
        gone |= at <= np.array(until)
    if not gone.any():
        return data, 0
    if gone.all():
        return None, int(gone.sum())
    table = parquet.read_table(pa.BufferReader(data))
    return write(table.filter(pa.array(~gone))), int(gone.sum())


def _columns(rows: Sequence[SampleRow]) -> Iterable[tuple[str, Any]]:
    import pyarrow as pa

    for name, kind in (
        ("request_id", pa.string()), ("received_at", pa.timestamp("us", "UTC")), ("model", pa.string()), ("arm", pa.string()),
        ("inclusion", pa.float64()), ("protocol", pa.string()), ("operation", pa.string()), ("outcome", pa.string()),
        ("status", pa.int32()), ("duration_s", pa.float64()), ("upstream_s", pa.float64()),
        ("request_bytes", pa.int64()), ("reply_bytes", pa.int64()), ("principal", pa.string()),
        ("subject", pa.string()), ("inputs_missing", pa.string()), ("outputs_missing", pa.string()),
        ("request_json", pa.string()), ("reply_json", pa.string()),
    ):  # fmt: skip
        if name == "received_at":
            yield name, pa.array([round(row.at * 1e6) for row in rows], pa.int64()).cast(kind)
        else:
            yield name, pa.array([getattr(row, name) for row in rows], kind)
    yield "inputs", _tensors([row.inputs for row in rows])
    yield "outputs", _tensors([row.outputs for row in rows])


def _tensors(lists: Sequence[tuple[KeptTensor, ...] | None]) -> Any:
    """list<struct<name, datatype, shape, values, texts, lengths, masked>>, built from buffers: a Python object for each
    number of a large tensor would take many times its memory.
    """
    import pyarrow as pa

    flat = [tensor for tensors in lists for tensor in tensors or ()]

    def text(of: Callable[[KeptTensor], str | None]) -> Any:
        return pa.array([of(tensor) for tensor in flat], pa.string())

    values = pa.array(np.frombuffer(b"".join(tensor.values or b"" for tensor in flat), "<f8"))
    fields = {
        "name": text(lambda tensor: tensor.name),
        "datatype": text(lambda tensor: tensor.datatype),
        "shape": pa.array([tensor.shape for tensor in flat], pa.list_(pa.int64())),
        "values": _lists(values, [None if each.values is None else len(each.values) // 8 for each in flat]),
        "texts": pa.array([tensor.texts for tensor in flat], pa.list_(pa.string())),
        "lengths": pa.array([tensor.lengths for tensor in flat], pa.list_(pa.int64())),
        "masked": text(lambda tensor: tensor.masked),
    }
    structs = pa.StructArray.from_arrays(list(fields.values()), names=list(fields))
    return _lists(structs, [None if tensors is None else len(tensors) for tensors in lists])


def _lists(values: Any, lengths: Sequence[int | None]) -> Any:
    """A list array over `values` with lists of these lengths; None: no list."""
    import pyarrow as pa

    ends = np.cumsum([0, *(length or 0 for length in lengths)], dtype=np.int64)
    absent = pa.array([length is None for length in lengths], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=absent)
