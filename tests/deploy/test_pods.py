"""What a pod may do, what it is told, and how it ends."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load_settings
from tests.deploy.manifests import (
    RENDERED,
    Manifest,
    container,
    environment,
    gateways,
    labels_of,
    named,
    of_kind,
    plain,
    pod,
    ports,
    render,
    selects,
    settings_file,
    workloads,
)

LEAVE_S = 10.0
"""What ending takes beside the drain: the last connections, a supervisor's patience, the control plane's thread."""


def drain_s(settings: Settings) -> float:
    """How long a drain may take: its notice, requests under way, the last samples."""
    inference = settings.inference
    return inference.drain_notice_s + inference.drain_limit_s + settings.samples.stop_limit_s


def decoded(manifests: tuple[Manifest, ...], role: str, folder: Path) -> Settings:
    """The settings of the role's pod, as it would read them itself."""
    path = folder / "maas.toml"
    path.write_text(settings_file(manifests))
    return load_settings(path, environment(gateways(manifests)[role]))


@pytest.mark.parametrize("role", ["data", "control"])
def test_settings_decode(manifests: tuple[Manifest, ...], role: str, tmp_path: Path) -> None:
    """File and environment of each pod are settings that the gateway takes, with the role and the places it mounts."""
    settings = decoded(manifests, role, tmp_path)
    workload = gateways(manifests)[role]
    mounts = {each["mountPath"]: each for each in container(workload)["volumeMounts"]}
    assert settings.role == role
    assert str(settings.data_dir.parent) in mounts
    assert environment(workload)["MAAS_CONFIG"] == "/etc/maas/maas.toml"
    assert "/etc/maas" in mounts
    assert (settings.access_log, settings.logs.format) == ("-", "json"), (
        "what a container prints, programs read"
    )
    if role == "control":
        assert str(settings.policies.folder) in mounts
    if settings.embedded.model_repository is not None:
        assert str(settings.embedded.model_repository) in mounts
    assert settings.inference.host == settings.control.host == "0.0.0.0"


def test_only_the_control_plane_knows_the_database(manifests: tuple[Manifest, ...]) -> None:
    """What answers the world holds no way into the database."""
    variables = {role: set(environment(workload)) for role, workload in gateways(manifests).items()}
    assert "MAAS_DATABASE__URL" not in variables["data"]


def test_kubernetes_adds_no_settings(manifests: tuple[Manifest, ...]) -> None:
    """Kubernetes names every Service in each pod's environment, MAAS_DATA_PORT among them: that is turned off.

    Left on, the gateway would not start.
    """
    assert {pod(workload)["enableServiceLinks"] for workload in workloads(manifests)} == {False}
    with pytest.raises(SettingsError, match="data_port"):
        load_settings(None, {"MAAS_DATA_PORT": "tcp://10.0.0.1:8080"})


def test_a_pod_is_not_killed_while_it_drains(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """SIGTERM starts the drain, and SIGKILL comes only after all of it could have happened."""
    settings = decoded(manifests, "data", tmp_path)
    grace = {role: pod(each)["terminationGracePeriodSeconds"] for role, each in gateways(manifests).items()}
    assert grace["data"] >= drain_s(settings) + LEAVE_S
    assert grace["control"] >= 15
    for workload in workloads(manifests):
        assert "preStop" not in container(workload).get("lifecycle", {}), (
            "the gateway's own notice is that hook"
        )


def test_the_drains_notice_outlasts_a_failing_probe(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """Whoever reads readiness has heard of the end before the pod stops to accept."""
    probe = container(gateways(manifests)["data"])["readinessProbe"]
    heard_s = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert decoded(manifests, "data", tmp_path).inference.drain_notice_s > heard_s


@pytest.mark.parametrize(("role", "port"), [("data", "ops"), ("control", "control")])
def test_probes(manifests: tuple[Manifest, ...], role: str, port: str) -> None:
    """Alive decides over a restart and ready over traffic; both are asked where the role tells them."""
    found = container(gateways(manifests)[role])
    asked = {name: found[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked["livenessProbe"] == asked["startupProbe"] == {"path": "/health/live", "port": port}
    assert asked["readinessProbe"] == {"path": "/health/ready", "port": port}
    assert found["args"] == ["maas", "serve"]


def test_ports_are_those_of_the_settings(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """What a container declares is where its role listens."""
    data, control = (decoded(manifests, role, tmp_path) for role in ("data", "control"))
    planes = gateways(manifests)
    assert ports(planes["data"]) == {
        "inference": data.inference.port,
        "grpc": data.inference.grpc_port,
        "ops": data.inference.ops_port,
    }
    assert ports(planes["control"]) == {"control": control.control.port}


@pytest.mark.parametrize("source", ["files", *RENDERED])
def test_pods_are_held_tightly(source: str) -> None:
    """No root, no way to become it, no capability, nothing to write to but declared volumes, no token of Kubernetes."""
    found = plain() if source == "files" else render(source)
    for workload in workloads(found):
        spec, one = pod(workload), container(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        assert all(each["mountPath"] == "/tmp" for each in one["volumeMounts"] if each["name"] == "tmp")
        for volume in spec.get("volumes", []):
            (kind,) = set(volume) - {"name"}
            assert kind in {"configMap", "emptyDir", "persistentVolumeClaim"}, volume
            assert kind != "emptyDir" or "sizeLimit" in volume["emptyDir"], volume
        assert {"cpu", "memory"} <= set(one["resources"]["requests"])
        assert "memory" in one["resources"]["limits"]
    for account in of_kind(found, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_namespace_asks_for_the_strictest_standard(manifests: tuple[Manifest, ...]) -> None:
    """Pods that are held less tightly are not let in at all."""
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_volume_outlives_the_container(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """The last good snapshot is in a volume, so a container that is started again finds it."""
    for role, workload in gateways(manifests).items():
        (mount,) = [each for each in container(workload)["volumeMounts"] if each["name"] == "data"]
        assert decoded(manifests, role, tmp_path).data_dir.is_relative_to(mount["mountPath"])
        claimed = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])]
        declared = [each["name"] for each in pod(workload)["volumes"]]
        assert sorted([*claimed, *declared]).count("data") == 1


def test_samples_cost_no_pod(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """They go to a claimed volume: one that is full costs samples. A full emptyDir would have the pod evicted."""
    data = gateways(manifests)["data"]
    place = decoded(manifests, "data", tmp_path).samples_url
    (mount,) = [each for each in container(data)["volumeMounts"] if each["mountPath"] == place]
    (volume,) = [each for each in pod(data)["volumes"] if each["name"] == mount["name"]]
    claim = named(manifests, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    many = data["spec"].get("replicas") != 1
    assert claim["spec"]["accessModes"] == (["ReadWriteMany"] if many else ["ReadWriteOnce"])


def test_claims_are_there(manifests: tuple[Manifest, ...]) -> None:
    """Each volume that is claimed by name is declared, and none is declared that nobody uses."""
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for workload in workloads(manifests)
        for volume in pod(workload)["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert used == {each["metadata"]["name"] for each in of_kind(manifests, "PersistentVolumeClaim")}


def test_sqlite_has_one_home(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """Without a shared database there is one control pod, its file is in a claimed volume, and two never run at once."""
    control = gateways(manifests)["control"]
    if decoded(manifests, "control", tmp_path).database.url is None:
        assert control["spec"]["replicas"] == 1
        assert control["spec"]["strategy"] == {"type": "Recreate"}
        (volume,) = [each for each in pod(control)["volumes"] if each["name"] == "data"]
        assert set(volume) == {"name", "persistentVolumeClaim"}
    else:
        assert control["spec"]["replicas"] > 1


def test_a_rollout_takes_no_pod_away_first(manifests: tuple[Manifest, ...]) -> None:
    """A data-plane Deployment keeps its number while it is replaced; a StatefulSet replaces one at a time."""
    data = gateways(manifests)["data"]
    if data["kind"] == "Deployment":
        assert data["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    else:
        assert "strategy" not in data["spec"]
        assert data["spec"]["serviceName"] == "maas-data"


def test_pods_are_spread_and_evicted_one_at_a_time(manifests: tuple[Manifest, ...]) -> None:
    """Each workload is spread over nodes, and has a budget that selects it and lets one go at a time."""
    for workload in workloads(manifests):
        labels = labels_of(workload)
        spread = {each["topologyKey"]: each for each in pod(workload)["topologySpreadConstraints"]}
        assert "kubernetes.io/hostname" in spread
        assert all(selects(each["labelSelector"]["matchLabels"], labels) for each in spread.values())
        budgets = [
            each
            for each in of_kind(manifests, "PodDisruptionBudget")
            if selects(each["spec"]["selector"]["matchLabels"], labels)
        ]
        assert [each["spec"]["maxUnavailable"] for each in budgets] == [1]


def test_an_autoscaler_has_its_workload_to_itself(manifests: tuple[Manifest, ...]) -> None:
    """It names a workload that is there and says no number itself, else each rollout would undo what was scaled."""
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        workload = named(manifests, target["kind"], target["name"])
        assert target["apiVersion"] == workload["apiVersion"]
        assert "replicas" not in workload["spec"]
        assert container(workload)["resources"]["requests"]["cpu"]


def test_pods_that_count_apart_take_their_part(manifests: tuple[Manifest, ...], tmp_path: Path) -> None:
    """Without Redis, for ever or while it is away, no limit is given out more often than there are pods at the least."""
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    replicas = gateways(manifests)["data"]["spec"].get("replicas")
    at_least = scalers[0]["spec"]["minReplicas"] if scalers else replicas
    assert decoded(manifests, "data", tmp_path).quota.workers == at_least


def test_shared_quotas_have_a_way_to_redis(manifests: tuple[Manifest, ...]) -> None:
    """The data plane alone is told of a Redis, and exactly where a policy lets it out to one."""
    told = {
        role for role, each in gateways(manifests).items() if "MAAS_QUOTA__REDIS_URL" in environment(each)
    }
    allowed = "data-to-redis" in {each["metadata"]["name"] for each in of_kind(manifests, "NetworkPolicy")}
    assert told == ({"data"} if allowed else set())


def test_prometheus_is_told_where(manifests: tuple[Manifest, ...]) -> None:
    """The annotations name a port of the container: ops for data, control for control."""
    for role, workload in gateways(manifests).items():
        told = workload["spec"]["template"]["metadata"]["annotations"]
        port = ports(workload)["ops" if role == "data" else "control"]
        assert told["prometheus.io/port"] == str(port)
        assert told["prometheus.io/path"] == "/metrics"


def test_declared_pools_name_servers_that_are_there(manifests: tuple[Manifest, ...]) -> None:
    """Every endpoint inside the namespace is a pod of a StatefulSet with a headless Service, at its port; none is left out."""
    pools = tomllib.loads(settings_file(manifests)).get("pools", {})
    told = {url for pool in pools.values() for url in pool.get("endpoints", ())}
    there: set[str] = set()
    for server in of_kind(manifests, "StatefulSet"):
        name = server["metadata"]["name"]
        if name == "maas-data":
            continue
        service = named(manifests, "Service", server["spec"]["serviceName"])
        assert service["spec"]["clusterIP"] == "None"
        assert selects(service["spec"]["selector"], labels_of(server))
        (port,) = [each["port"] for each in service["spec"]["ports"] if each["name"] == "http"]
        assert port == ports(server)["http"], "a headless Service maps no ports"
        # No `grpc_endpoints` are told: the gateway looks behind the port for HTTP.
        (grpc,) = [each["port"] for each in service["spec"]["ports"] if each["name"] == "grpc"]
        assert grpc == ports(server)["grpc"] == port + 1
        there |= {
            f"http://{name}-{index}.{service['metadata']['name']}:{port}"
            for index in range(server["spec"]["replicas"])
        }
    assert told == there


def test_triton_ends_in_time(manifests: tuple[Manifest, ...]) -> None:
    """What Triton takes to finish fits before SIGKILL."""
    for server in of_kind(manifests, "StatefulSet"):
        if labels_of(server)["app.kubernetes.io/name"] == "triton":
            (told,) = [
                re.fullmatch(r"--exit-timeout-secs=(\d+)", each)
                for each in container(server)["args"]
                if "exit" in each
            ]
            assert told is not None
            assert pod(server)["terminationGracePeriodSeconds"] >= int(told[1]) + LEAVE_S
