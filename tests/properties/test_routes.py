"""The path parser: any bytes are a route or a refusal, never a failure; names are matched whole."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.dataplane.http.routes import OPENAI, Route, Routes
from gateway.errors import GatewayError, Kind
from gateway.types import MAX_VERSION

GOOD = re.compile(
    rb"/v2/models/[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:/versions/[1-9][0-9]{0,18})?"
    rb"(?:/(?:infer|generate|generate_stream|ready|config|stats))?"
)
PIECES = st.sampled_from(
    b"/ // v2 models a versions 1 01 infer stats ready .. . %61 repository index \xff \x00 ;x logging trace health live - "
    b"metadata".split(b" ")
)
PATHS = st.one_of(
    st.binary(max_size=60),
    st.lists(PIECES, max_size=12).map(b"".join),
    st.lists(PIECES, max_size=8).map(lambda pieces: b"/v2/models/" + b"/".join(pieces)),
    st.from_regex(GOOD, fullmatch=True),
)


@settings(max_examples=1500)
@given(PATHS, st.sampled_from([b"GET", b"POST", b"PUT"]))
@example(b"/v2/models/a\n/infer", b"POST")
@example(b"/v2/models/a/versions/1\n/infer", b"POST")
@example(b"/v2/models/\xff/infer", b"POST")
def test_every_path_is_a_route_or_refused(path: bytes, method: bytes) -> None:
    """A path with an escape is never a route; a route's alias and version are exactly what stands in the path."""
    found: Route | Kind
    try:
        found = Routes().find(path, method)
    except GatewayError as error:
        found = error.kind
    if isinstance(found, Kind):
        assert found in (Kind.BAD_REQUEST, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED)
        return
    route = found
    assert b"%" not in path
    assert route.operation.method == method
    if route.page.startswith(OPENAI):
        assert path.startswith(b"/v1/")
        return
    if not route.alias:
        assert path in (b"/v2", b"/v2/health/live", b"/v2/health/ready")
        return
    assert GOOD.fullmatch(path)
    version = b"" if route.version is None else b"/versions/%d" % route.version
    assert path == b"/v2/models/" + route.alias.encode() + version + route.operation.suffix
    assert route.version is None or 1 <= route.version <= MAX_VERSION


@settings(max_examples=300)
@given(st.from_regex(GOOD, fullmatch=True))
def test_every_good_path_is_a_route(path: bytes) -> None:
    """What the protocol allows is found, unless its version is beyond 63 bits."""
    routes = Routes()
    last = path.rsplit(b"/", 1)[1]
    method = (
        b"POST" if last in (b"infer", b"generate", b"generate_stream") and path.count(b"/") > 3 else b"GET"
    )
    version = re.search(rb"/versions/([0-9]+)", path)
    if version is not None and int(version[1]) > MAX_VERSION:
        with pytest.raises(GatewayError):
            routes.find(path, method)
        return
    assert routes.find(path, method) is routes.find(path, method)


def test_remembered_routes_stay_bounded() -> None:
    """Callers with ever new paths fill no memory, and find the same routes afterwards."""
    routes = Routes()
    for number in range(50_000):
        routes.find(b"/v2/models/a%d" % number, b"GET")
    assert len(routes._known) <= 20_000
    assert routes.find(b"/v2/models/a1", b"GET").alias == "a1"
