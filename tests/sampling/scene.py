"""A gateway that keeps samples, in front of a scripted upstream whose model takes a picture, a text and a number."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from gateway.snapshot.document import MaskRule, SamplingEntry, SnapshotDocument
from tests.dataplane.upstream import Talk
from tests.gateway_process import Gateway, document, wait_for

SAMPLE_SALT = "0f0e0d0c0b0a09080706050403020100"
TENSORS = {
    "name": "m",
    "versions": ["1", "2"],
    "platform": "test",
    "inputs": [
        {"name": "image", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "number", "datatype": "INT64", "shape": [-1]},
    ],
    "outputs": [
        {"name": "score", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ],
}


def sampled(
    url: str, *rules: MaskRule, rate_bp: int = 10_000, aliases: tuple[str, ...] = ("a", "split")
) -> SnapshotDocument:
    """The tests' document, with these aliases sampled."""
    found = document(url)
    entry = SamplingEntry(rate_bp, SAMPLE_SALT, rules)
    return msgspec.structs.replace(
        found,
        aliases=tuple(
            msgspec.structs.replace(alias, sampling=entry if alias.name in aliases else None)
            for alias in found.aliases
        ),
    )


def tensor(name: str, datatype: str, *data: Any) -> dict[str, Any]:
    """A tensor in JSON, flat."""
    shape = [len(data) // 2, 2] if datatype == "FP32" else [len(data)]
    return {"name": name, "datatype": datatype, "shape": shape, "data": list(data)}


def request(*tensors: dict[str, Any], **members: Any) -> bytes:
    """An infer request in JSON."""
    return json.dumps({"inputs": list(tensors), **members}).encode()


def reply(*tensors: dict[str, Any], **members: Any) -> bytes:
    """An infer reply in JSON."""
    return json.dumps({"model_name": "m", "model_version": "1", "outputs": list(tensors), **members}).encode()


def model(
    body: bytes = reply(tensor("score", "FP32", 0.25, 0.75)), status: int = 200, *headers: bytes
) -> Any:
    """What an upstream does that has the model: it tells its tensors, and answers everything else with `body`."""

    def behave(talk: Talk) -> None:
        if talk.method == b"GET":
            talk.answer(200, json.dumps(TENSORS).encode())
        else:
            talk.answer(status, body, headers or (b"Content-Type: application/json",))

    return behave


def parts(folder: Path) -> list[Path]:
    """The sample files in a folder, which may be changing."""
    found = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path.match("part-*.parquet"))


def rows(folder: Path) -> list[dict[str, Any]]:
    """All samples in a folder, as DuckDB reads them."""
    import duckdb

    while files := parts(folder):
        listed = ", ".join(f"'{path}'" for path in files)
        # A timestamp with a zone becomes a Python object only with pytz; Unix seconds need nothing.
        query = (
            "SELECT * REPLACE (epoch(received_at) AS received_at) "
            f"FROM read_parquet([{listed}], hive_partitioning = true) ORDER BY received_at"
        )
        try:
            with duckdb.connect() as connection:
                found = connection.execute(query)
                names = [column[0] for column in found.description or ()]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.IOException:
            # A file that was listed is gone: somebody was forgotten meanwhile.
            if parts(folder) == files:
                raise
    return []


def metric(gateway: Gateway, name: str) -> float:
    """The sum of a metric's values over its labels, those that `name` does not give."""
    import httpx

    text = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=60).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def wait_for_rows(folder: Path, count: int, limit_s: float = 30.0) -> list[dict[str, Any]]:
    """Wait for so many samples: those that are there then."""
    wait_for(lambda: parts(folder) and len(rows(folder)) >= count, limit_s, f"{count} samples")
    return rows(folder)
