"""The routes, against our own reading of the Gateway API: its objects are no part of Kubernetes' schemas.

What stands here are the fields of `gateway.networking.k8s.io/v1` (standard channel, release 1.2) that the manifests use,
typed strictly, so that a mistyped or misplaced field is found. It is no copy of the API's own schema.
"""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from tests.deploy.manifests import Manifest, named, of_kind, render
from tests.deploy.test_pods import decoded

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Hostname = Annotated[
    str, msgspec.Meta(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Duration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping with these fields and no others."""


class CertificateRef(Strict):
    kind: Literal["Secret"]
    name: Name


class Tls(Strict):
    mode: Literal["Terminate", "Passthrough"]
    certificateRefs: Annotated[list[CertificateRef], msgspec.Meta(min_length=1)]  # noqa: N815


class From(Strict):
    from_: Literal["All", "Same", "Selector"] = msgspec.field(name="from")


class AllowedRoutes(Strict):
    namespaces: From


class Listener(Strict):
    name: Name
    protocol: Literal["HTTP", "HTTPS"]
    port: Port
    hostname: Hostname
    tls: Tls
    allowedRoutes: AllowedRoutes  # noqa: N815


class GatewaySpec(Strict):
    gatewayClassName: Name  # noqa: N815
    listeners: Annotated[list[Listener], msgspec.Meta(min_length=1, max_length=64)]


class ParentRef(Strict):
    name: Name
    sectionName: Name  # noqa: N815


class Path(Strict):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: Annotated[str, msgspec.Meta(pattern=r"^/[^ ]*$", max_length=1024)]


class Match(Strict):
    path: Path


class Timeouts(Strict):
    request: Duration


class BackendRef(Strict):
    name: Name
    port: Port


class Rule(Strict):
    matches: Annotated[list[Match], msgspec.Meta(min_length=1, max_length=64)]
    timeouts: Timeouts
    backendRefs: Annotated[list[BackendRef], msgspec.Meta(min_length=1, max_length=16)]  # noqa: N815


class HTTPRouteSpec(Strict):
    parentRefs: Annotated[list[ParentRef], msgspec.Meta(min_length=1, max_length=32)]  # noqa: N815
    hostnames: Annotated[list[Hostname], msgspec.Meta(max_length=16)]
    rules: Annotated[list[Rule], msgspec.Meta(min_length=1, max_length=16)]


class Method(Strict):
    service: Annotated[
        str, msgspec.Meta(pattern=r"^(?i:\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*)$", max_length=1024)
    ]


class RpcMatch(Strict):
    method: Method


class RpcRule(Strict):
    matches: Annotated[list[RpcMatch], msgspec.Meta(min_length=1, max_length=64)]
    backendRefs: Annotated[list[BackendRef], msgspec.Meta(min_length=1, max_length=16)]  # noqa: N815


class GRPCRouteSpec(Strict):
    parentRefs: Annotated[list[ParentRef], msgspec.Meta(min_length=1, max_length=32)]  # noqa: N815
    hostnames: Annotated[list[Hostname], msgspec.Meta(max_length=16)]
    rules: Annotated[list[RpcRule], msgspec.Meta(min_length=1, max_length=16)]


SPECS: dict[str, type[Strict]] = {
    "Gateway": GatewaySpec,
    "HTTPRoute": HTTPRouteSpec,
    "GRPCRoute": GRPCRouteSpec,
}


@pytest.fixture
def production() -> tuple[Manifest, ...]:
    """The overlay that has routes."""
    return render("overlays/production")


def routes(manifests: tuple[Manifest, ...]) -> dict[str, HTTPRouteSpec]:
    """The routes of HTTP by name."""
    return {
        each["metadata"]["name"]: msgspec.convert(each["spec"], HTTPRouteSpec)
        for each in of_kind(manifests, "HTTPRoute")
    }


def rpc_route(manifests: tuple[Manifest, ...]) -> GRPCRouteSpec:
    """The one of gRPC."""
    (found,) = of_kind(manifests, "GRPCRoute")
    return msgspec.convert(found["spec"], GRPCRouteSpec)


def all_routes(manifests: tuple[Manifest, ...]) -> list[HTTPRouteSpec | GRPCRouteSpec]:
    """Both kinds."""
    return [*routes(manifests).values(), rpc_route(manifests)]


def test_fields_are_those_of_the_api(production: tuple[Manifest, ...]) -> None:
    """Each object of the Gateway API is of a kind that is known here, with fields of the right names and types."""
    found = [each for each in production if each["apiVersion"].startswith("gateway.networking.k8s.io/")]
    assert {each["kind"] for each in found} == set(SPECS)
    for each in found:
        assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
        assert each["apiVersion"] == "gateway.networking.k8s.io/v1"
        msgspec.convert(each["spec"], SPECS[each["kind"]])


def test_routes_hang_on_gateways_that_let_them(production: tuple[Manifest, ...]) -> None:
    """Each route names a listener that is there, of TLS, for the same host."""
    for route in all_routes(production):
        for parent in route.parentRefs:
            gateway = msgspec.convert(named(production, "Gateway", parent.name)["spec"], GatewaySpec)
            (listener,) = [each for each in gateway.listeners if each.name == parent.sectionName]
            assert listener.protocol == "HTTPS"
            assert route.hostnames == [listener.hostname]


def test_routes_lead_to_services(production: tuple[Manifest, ...]) -> None:
    """Each backend is a Service of the overlay, at one of its ports."""
    for route in all_routes(production):
        for backend in (each for rule in route.rules for each in rule.backendRefs):
            service = named(production, "Service", backend.name)
            assert backend.port in [port["port"] for port in service["spec"]["ports"]]


def test_inference_and_administration_have_doors_of_their_own(production: tuple[Manifest, ...]) -> None:
    """The world's door leads to the data plane's paths and to nothing of the control plane."""
    found = routes(production)
    inference, control = found["maas-inference"], found["maas-control"]
    assert {each.name for each in inference.parentRefs}.isdisjoint(each.name for each in control.parentRefs)
    assert {match.path.value for rule in inference.rules for match in rule.matches} == {"/v1", "/v2"}
    assert {each.name for rule in inference.rules for each in rule.backendRefs} == {"maas-data"}


def test_the_gateway_itself_says_when_time_is_up(production: tuple[Manifest, ...], tmp_path: Any) -> None:
    """A route waits longer than any deadline that a caller may ask for, so that the 504 is the gateway's, with its reason."""
    longest_s = decoded(production, "data", tmp_path).inference.max_deadline_s
    (rule,) = routes(production)["maas-inference"].rules
    assert rule.timeouts.request.endswith("s")
    assert int(rule.timeouts.request.removesuffix("s")) > longest_s


def test_grpc_leads_to_the_data_plane_alone(production: tuple[Manifest, ...], tmp_path: Any) -> None:
    """Inference and health, by the world's door, at the gRPC port of the settings; no other service of Triton's."""
    route = rpc_route(production)
    assert {each.name for each in route.parentRefs} == {"maas-public"}
    (rule,) = route.rules
    assert {match.method.service for match in rule.matches} == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
    }
    port = decoded(production, "data", tmp_path).inference.grpc_port
    assert [(each.name, each.port) for each in rule.backendRefs] == [("maas-data", port)]


def test_no_host_has_routes_of_both_kinds(production: tuple[Manifest, ...]) -> None:
    """An implementation would take one of them alone (GRPCRoute, "cross serving")."""
    over_http = {host for route in routes(production).values() for host in route.hostnames}
    assert over_http.isdisjoint(rpc_route(production).hostnames)
