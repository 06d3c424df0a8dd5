"""Who may talk to whom: Services, policies and routes name ports and pods that are there."""

from typing import Any
from urllib.parse import urlsplit

from tests.deploy.manifests import (
    Manifest,
    gateways,
    labels_of,
    named,
    of_kind,
    ports,
    selects,
    settings_file,
    workloads,
)
from tests.deploy.test_pods import decoded


def policies(manifests: tuple[Manifest, ...], labels: dict[str, str]) -> list[Manifest]:
    """The policies that hold for pods with these labels."""
    return [
        each
        for each in of_kind(manifests, "NetworkPolicy")
        if selects(each["spec"]["podSelector"].get("matchLabels", {}), labels)
    ]


def meant(peer: dict[str, Any], manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """The workloads that a peer of a policy stands for."""
    if "podSelector" not in peer:
        return []
    return [
        each for each in workloads(manifests) if selects(peer["podSelector"]["matchLabels"], labels_of(each))
    ]


def open_ports(manifests: tuple[Manifest, ...], labels: dict[str, str], way: str) -> set[int]:
    """The ports that the policies open for a pod, one way."""
    return {
        port["port"]
        for policy in policies(manifests, labels)
        for rule in policy["spec"].get(way, [])
        for port in rule.get("ports", [])
    }


def test_services_lead_to_ports(manifests: tuple[Manifest, ...]) -> None:
    """Each Service selects exactly one workload, and its port is one of that container's, at the same number."""
    for service in of_kind(manifests, "Service"):
        (workload,) = [
            each for each in workloads(manifests) if selects(service["spec"]["selector"], labels_of(each))
        ]
        for port in service["spec"]["ports"]:
            assert ports(workload)[port["targetPort"]] == port["port"]


def test_the_data_plane_finds_its_control_plane(manifests: tuple[Manifest, ...], tmp_path: Any) -> None:
    """`control.url` is a Service of the control plane, of all its pods: one without its database still has snapshots."""
    url = urlsplit(decoded(manifests, "data", tmp_path).control_url)
    service = named(manifests, "Service", str(url.hostname))
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert selects(service["spec"]["selector"], labels_of(gateways(manifests)["control"]))
    assert url.port in [port["port"] for port in service["spec"]["ports"]]
    people = named(manifests, "Service", "maas-control")
    assert "publishNotReadyAddresses" not in people["spec"]


def test_nothing_is_allowed_that_is_not_said(manifests: tuple[Manifest, ...]) -> None:
    """One policy takes every pod, both ways, and allows nothing."""
    deny = named(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in of_kind(manifests, "NetworkPolicy"):
        spec = policy["spec"]
        told = {way for way, name in (("Ingress", "ingress"), ("Egress", "egress")) if spec.get(name)}
        assert told == set(spec["policyTypes"]) or policy["metadata"]["name"] == "default-deny"
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert rule["ports"], "a rule opens named ports, never all of them"
        assert all(rule.get("from") for rule in spec.get("ingress", []))


def test_what_may_come_in(manifests: tuple[Manifest, ...]) -> None:
    """Each pod is reachable at the ports it declares, and at nothing else of its own."""
    for workload in workloads(manifests):
        declared = set(ports(workload).values())
        opened = open_ports(manifests, labels_of(workload), "ingress")
        assert declared <= opened
        strange = opened - declared
        # One policy lets Prometheus into both planes, each at its own port.
        assert strange <= {8082, 8090}


def test_what_may_go_out(manifests: tuple[Manifest, ...]) -> None:
    """Data: names, control plane, Triton, Redis. Control: names, PostgreSQL. Triton: names. Nobody else, nothing else."""
    expected = {"data": {53, 8090}, "control": {53}}
    names = {each["metadata"]["name"] for each in of_kind(manifests, "NetworkPolicy")}
    expected["data"] |= {8000, 8001} if "data-to-triton" in names else set()
    expected["data"] |= {6379} if "data-to-redis" in names else set()
    expected["control"] |= {5432} if "control-to-postgresql" in names else set()
    for role, workload in gateways(manifests).items():
        assert open_ports(manifests, labels_of(workload), "egress") == expected[role]
    for workload in workloads(manifests):
        if labels_of(workload)["app.kubernetes.io/name"] == "triton":
            assert open_ports(manifests, labels_of(workload), "egress") == {53}


def test_arrows_meet(manifests: tuple[Manifest, ...]) -> None:
    """What one pod may send to another, that other may receive, at a port that it has."""
    for sender in workloads(manifests):
        for policy in policies(manifests, labels_of(sender)):
            for rule in policy["spec"].get("egress", []):
                for receiver in (each for peer in rule.get("to", []) for each in meant(peer, manifests)):
                    wanted = {port["port"] for port in rule["ports"]}
                    assert wanted <= set(ports(receiver).values())
                    assert wanted <= _received(manifests, receiver, sender)


def _received(manifests: tuple[Manifest, ...], receiver: Manifest, sender: Manifest) -> set[int]:
    return {
        port["port"]
        for policy in policies(manifests, labels_of(receiver))
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if sender in meant(peer, manifests)
        for port in rule["ports"]
    }


def test_an_overlay_opens_what_its_settings_need(manifests: tuple[Manifest, ...]) -> None:
    """With endpoints of Triton the way to them is open; without, in the small one, it is closed."""
    has_endpoints = "endpoints" in settings_file(manifests)
    servers = [each for each in workloads(manifests) if labels_of(each)["app.kubernetes.io/name"] == "triton"]
    assert bool(servers) == has_endpoints
    data = open_ports(manifests, labels_of(gateways(manifests)["data"]), "egress")
    assert not has_endpoints or {8000, 8001} <= data


def test_both_doors_of_inference_are_offered(manifests: tuple[Manifest, ...], tmp_path: Any) -> None:
    """Whoever may call over HTTP may over gRPC: one Service and one policy have both ports, and say what is spoken there."""
    inference = decoded(manifests, "data", tmp_path).inference
    service = named(manifests, "Service", "maas-data")["spec"]
    offered = {port["port"]: port["appProtocol"] for port in service["ports"]}
    assert offered == {inference.port: "http", inference.grpc_port: "kubernetes.io/h2c"}
    (rule,) = named(manifests, "NetworkPolicy", "callers-to-data")["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == set(offered)
