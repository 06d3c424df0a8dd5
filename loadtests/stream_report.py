"""The table of the streams."""

from loadtests.results import Run
from loadtests.stream_results import StreamPoint, stream_points

_NOTHING = "-"

HEAD = [
    "stream",
    "at a time",
    "peer",
    "first token p50 ms",
    "p99 ms",
    "added ms",
    "token's way p50 µs",
    "p99 µs",
    "added µs",
    "CPU µs/token",
    "proxy busy",
]


def streams(run: Run) -> list[list[str]]:
    """A row for each kind of stream, number of streams at a time, and peer; what is added is the median over that of direct calls."""
    found = {(point.payload, point.streams, point.peer): point for point in stream_points(run.stream_samples)}
    places = [
        (name, count, peer) for name in run.streams for count in run.stream_counts for peer in run.peers
    ]
    return [HEAD, *(_row(run.streams[place[0]], found[place]) for place in places if place in found)]


def _row(title: str, point: StreamPoint) -> list[str]:
    return [
        title,
        str(point.streams),
        point.peer,
        f"{point.first_p50_ms:.2f}",
        f"{point.first_p99_ms:.2f}",
        _NOTHING if point.first_added_ms is None else f"{point.first_added_ms:.2f}",
        f"{point.token_p50_us:,.0f}",
        f"{point.token_p99_us:,.0f}",
        _NOTHING if point.token_added_us is None else f"{point.token_added_us:,.0f}",
        _NOTHING if point.proxy_cpu_us_per_token is None else f"{point.proxy_cpu_us_per_token:,.1f}",
        _NOTHING if point.proxy_busy is None else f"{point.proxy_busy:.0%}",
    ]
