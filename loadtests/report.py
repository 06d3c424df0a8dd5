"""The results as a table for a terminal, as Markdown, and as JSON; Markdown goes between two marks of a document."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.processes import BenchError
from loadtests.results import BARE, REFERENCE, Point, Run, lost_share, points
from loadtests.stream_report import streams
from loadtests.stream_results import stream_points

START_MARK = "<!-- bench: start; written by `make bench ARGS=--write-docs` -->"
END_MARK = "<!-- bench: end -->"
NOTHING = "-"
_MIB = 1024 * 1024
_QUIET_SHARE = 0.05

Table = list[list[str]]


def rates(run: Run, payload: str) -> Table:
    """Requests/s, a column for each peer (also for a missing one), and ratios: of the gateway to the reference, and of
    the gateway with more turned on to the gateway without.
    """
    known = _index(run)
    dearer = [peer for peer in run.peers if peer.startswith(f"{BARE}+")]
    table = [["connections", *run.peers, f"maas ÷ {REFERENCE}", *(f"{peer} ÷ {BARE}" for peer in dearer)]]
    for connections in run.connections:
        cells = [str(connections)]
        for peer in run.peers:
            point = known.get((payload, connections, peer))
            cells.append(_rate(point) if point else "not measured")
        gateway = known.get((payload, connections, BARE))
        cells.append(f"{gateway.ratio:.2f}" if gateway and gateway.ratio is not None else NOTHING)
        for peer in dearer:
            more = known.get((payload, connections, peer))
            cells.append(
                f"{more.requests_per_s / gateway.requests_per_s:.2f}" if more and gateway else NOTHING
            )
        table.append(cells)
    return table


def details(run: Run, payload: str) -> Table:
    """Latencies, CPU time and ratio, a row for each number of connections and peer."""
    known = _index(run)
    head = ["connections", "peer", "p50 ms", "p99 ms", "CPU µs/request", "proxy busy"]
    head += [f"requests/s ÷ {REFERENCE}", f"CPU ÷ {REFERENCE}"]
    places = [(payload, connections, peer) for connections in run.connections for peer in run.peers]
    return [head, *(_detail(known[place]) for place in places if place in known)]


def _detail(point: Point) -> list[str]:
    cpu_us, busy = point.proxy_cpu_us_per_request, point.proxy_busy
    return [
        str(point.connections),
        point.peer,
        f"{point.p50_ms:.2f}",
        f"{point.p99_ms:.2f}",
        NOTHING if cpu_us is None else f"{cpu_us:,.1f}",
        NOTHING if busy is None else f"{busy:.0%}",
        *(NOTHING if ratio is None else f"{ratio:.2f}" for ratio in (point.ratio, point.cpu_ratio)),
    ]


def memory(run: Run) -> Table:
    """Resident memory of each proxy at rest and after the load."""
    table = [["payload", "peer", "at rest MiB", "after MiB"]]
    for entry in run.memory:
        title = run.payloads.get(entry.payload) or run.streams[entry.payload]
        table.append(
            [title, entry.peer, f"{entry.at_rest_bytes / _MIB:.1f}", f"{entry.after_bytes / _MIB:.1f}"]
        )
    return table


def remarks(run: Run) -> list[str]:
    """What a reader must know to judge the figures: the machine, what is missing, what is a lower bound."""
    machine = run.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    found = [
        f"{run.started_at}, {machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}, {versions}.",
        f"{machine.core_plan[:1].upper()}{machine.core_plan[1:]}. "
        f"Medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''} of {run.duration_s} s.",
    ]
    lost = lost_share([*run.samples, *run.stream_samples])
    if lost > _QUIET_SHARE:
        found.append(
            f"Others had {lost:.0%} of the proxy's core during the run (load average before it: "
            f"{machine.load_average}): the figures are worth less for it; repeat them on a quiet machine."
        )
    found += [f"{peer} was not measured: {reason}." for peer, reason in run.missing.items()]
    if any(point.load_bound for point in points(run.samples)):
        found.append(
            "≥ : the load generator's core was full and the proxy's was not; the proxy could do more."
        )
    return found


def as_text(run: Run) -> str:
    """The whole report for a terminal."""
    parts = ["\n".join(remarks(run))]
    for name, title in run.payloads.items():
        parts += [f"{title}, requests/s", _aligned(rates(run, name)), _aligned(details(run, name))]
    if run.stream_samples:
        parts += ["Streams of tokens", _aligned(streams(run))]
    if run.memory:
        parts += ["Resident memory", _aligned(memory(run))]
    return "\n\n".join(parts)


def as_markdown(run: Run) -> str:
    """The whole report for a document."""
    parts = ["\n".join(f"- {remark}" for remark in remarks(run))]
    for name, title in run.payloads.items():
        parts += [f"### {title}", "Requests/s:", _piped(rates(run, name)), _piped(details(run, name))]
    if run.stream_samples:
        parts += ["### Streams of tokens", _piped(streams(run))]
    if run.memory:
        parts += ["### Resident memory", _piped(memory(run))]
    return "\n\n".join(parts)


def as_json(run: Run) -> str:
    """The run with its raw samples, and the medians drawn from them."""
    document = {
        "run": run,
        "points": points(run.samples),
        "stream_points": stream_points(run.stream_samples),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def keep(run: Run, folder: Path) -> Path:
    """Write the JSON and the Markdown into `folder`, named by the run's start; returns the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = run.started_at.replace(":", "").replace("+0000", "Z")
    (folder / f"{stem}.md").write_text(as_markdown(run) + "\n")
    path = folder / f"{stem}.json"
    path.write_text(as_json(run) + "\n")
    return path


def write_docs(run: Run, path: Path) -> None:
    """Replace what stands between the two marks of the document. Raises `BenchError` if they are not there."""
    before, start, rest = path.read_text().partition(START_MARK)
    _, end, after = rest.partition(END_MARK)
    if not start or not end:
        raise BenchError(f"{path} has no line {START_MARK!r} followed by {END_MARK!r}")
    path.write_text(f"{before}{START_MARK}\n\n{as_markdown(run)}\n\n{END_MARK}{after}")


def _index(run: Run) -> dict[tuple[str, int, str], Point]:
    return {(point.payload, point.connections, point.peer): point for point in points(run.samples)}


def _rate(point: Point) -> str:
    return f"{'≥ ' if point.load_bound else ''}{point.requests_per_s:,.0f}"


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table
    )


def _piped(table: Sequence[Sequence[str]]) -> str:
    head, *rows = table
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
