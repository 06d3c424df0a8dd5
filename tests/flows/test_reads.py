"""What is asked about a model is no inference: not in the metrics, the usage, the quotas, the samples or the callers of what retires."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import tritonclient.grpc
import tritonclient.http
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.harness import Gateway, Key, Operator, done, wait_until
from tests.flows.conftest import TEAM, Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALIAS = "asked-about"
ROUNDS = 5
# What counts inferences; of a histogram, the observations.
INFERENCES = (
    "maas_requests_total",
    "maas_request_duration_seconds_count",
    "maas_overhead_duration_seconds_count",
    "maas_upstream_duration_seconds_count",
    "maas_upstream_first_byte_seconds_count",
    "maas_request_bytes_total",
    "maas_reply_bytes_total",
    "maas_deprecated_requests_total",
    "maas_samples_taken_total",
)


def counted(gateway: Gateway, *names: str, by: str) -> Counter[str]:
    """The alias's samples of these names, by name and the value of the label `by`."""
    text = httpx.get(f"{gateway.control_url}/metrics", trust_env=False, timeout=60).text
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in names and sample.labels.get("alias") == ALIAS and sample.value:
                found[sample.labels.get(by, "")] += int(sample.value)
    return found


def reads(gateway: Gateway, app: Key) -> list[Callable[[], object]]:
    """Every question about a model, over every protocol, by NVIDIA's clients where they have it."""
    over_http = tritonclient.http.InferenceServerClient(gateway.inference)
    over_grpc = tritonclient.grpc.InferenceServerClient(gateway.grpc_target)
    clients = ((over_http, app.headers), (over_grpc, {"authorization": app.headers["Authorization"]}))
    return [
        partial(verb, ALIAS, headers=headers)
        for client, headers in clients
        for verb in (
            client.is_model_ready,
            client.get_model_metadata,
            client.get_model_config,
            client.get_inference_statistics,
        )
    ]


def watched(operator: Operator, http: httpx.Client) -> None:
    """An alias that is limited to an inference a day, sampled and deprecated, and served as such."""
    operator.alias(ALIAS, "digits@1", team=TEAM)
    limits = [{"name": "day", "quota": 1, "window_s": 86_400}]
    operator.set(f"/quotas/{ALIAS}", {"alias": ALIAS, "application": "*", "limits": limits})
    operator.set(f"/aliases/{ALIAS}/sampling", {"rate_bp": 10_000})
    sunset = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    operator.set(f"/aliases/{ALIAS}/deprecation", {"sunset_at": sunset})
    page = f"/v2/models/{ALIAS}/ready"
    wait_until(lambda: "Deprecation" in http.get(page).headers, "all of that is live")


def test_a_read_is_no_inference_anywhere(embedded_gateway: Gateway, app: Key) -> None:
    """Forty questions, then an inference and one over the quota of one a day: two are counted, everywhere."""
    gateway = embedded_gateway
    with gateway.operator() as operator, gateway.caller(app) as http:
        watched(operator, http)
        model = f"/v2/models/{ALIAS}/stats"
        computed = http.get(model).json()["model_stats"][0]["inference_count"]
        before = counted(gateway, "maas_reads_total", by="operation")
        for ask in reads(gateway, app) * ROUNDS:
            assert ask()
        read = counted(gateway, "maas_reads_total", by="operation") - before
        assert read == dict.fromkeys(("ready", "metadata", "config", "stats"), 2 * ROUNDS)
        assert counted(gateway, *INFERENCES, by="outcome") == {}
        assert http.get(model).json()["model_stats"][0]["inference_count"] == computed

        with Caller(gateway.inference, app) as caller:
            assert [caller.infer(ALIAS).status for _ in range(2)] == [200, 429]
        assert counted(gateway, "maas_requests_total", by="outcome") == {"ok": 1, "quota_exceeded": 1}
        assert counted(gateway, "maas_request_duration_seconds_count", by="alias") == {ALIAS: 1}
        assert counted(gateway, "maas_deprecated_requests_total", by="alias") == {ALIAS: 2}

        rows: list[dict[str, Any]] = []

        def reported() -> bool:
            found = done(operator.get("/usage", params={"by": "alias", "alias": ALIAS})).json()["rows"]
            rows[:] = found
            return sum(row["requests"] + row["limited"] for row in found) >= 2

        wait_until(reported, "the workers report")
        assert [(row["requests"], row["limited"], row["inferences"]) for row in rows] == [(1, 1, 1)]
        where = f"/aliases/{ALIAS}/deprecation/callers"
        (who,) = done(operator.get(where)).json()["callers"]
        assert (who["principal"], who["calls"]) == ("app:shop", 2)
