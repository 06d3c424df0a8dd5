"""Declared issuers: what cannot be meant is refused before anything starts, all of it at once."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.issuers import ALGORITHMS, Issuer, RoleClaim, issuer_faults
from gateway.settings import SettingsError, load_settings, settings_bytes, settings_of

GOOD = Issuer("https://id.example.com/realms/company", ("maas",), "user:{preferred_username}")


def faults(**fields: Any) -> list[str]:
    """What is wrong with an issuer that is good but for `fields`."""
    return issuer_faults({"main": msgspec.structs.replace(GOOD, **fields)})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"issuer": "http://127.0.0.1:8080/realms/x", "jwks_url": "http://localhost:8080/certs?a=b"},
        {"issuer": "https://[2001:db8::1]:8443", "algorithms": ALGORITHMS},
        {"principal": "app:ci-{repository_id}.{azp}", "leeway_s": 0.0, "refresh_s": 1.0, "keep_s": 1.0},
        {"principal": "user:{https://example.com/name}"},
        {"issuer": "http://keycloak:8080/realms/x", "jwks_url": "https://keycloak:8443/realms/x/certs"},
        {"issuer": "accounts.example.com", "jwks_url": "https://example.com/certs?v=3"},
        {"roles": (RoleClaim(("a", "b.c"), "x y", "role:consumer", "*"),)},
    ],
)
def test_what_an_operator_means_is_taken(fields: dict[str, Any]) -> None:
    """Plain HTTP on this host's loopback among it."""
    assert faults(**fields) == []


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"issuer": ""}, "issuers.main.issuer"),
        ({"issuer": "http://id.example.com"}, "issuers.main.issuer"),
        ({"issuer": "https://id.example.com?x"}, "issuers.main.issuer"),
        ({"issuer": "https://id.example.com#x"}, "issuers.main.issuer"),
        ({"issuer": "https://u:p@id.example.com"}, "issuers.main.issuer"),
        ({"issuer": "https://169.254.169.254/x"}, "issuers.main.issuer"),
        ({"issuer": "https://2852039166/"}, "issuers.main.issuer"),
        ({"issuer": "id.example.com"}, "issuers.main.issuer"),
        ({"issuer": "file:///etc/passwd"}, "issuers.main.issuer"),
        ({"jwks_url": "http://metadata.google.internal/x"}, "issuers.main.jwks_url"),
        ({"jwks_url": "http://keycloak:8080/certs"}, "issuers.main.jwks_url"),
        ({"jwks_url": ""}, "issuers.main.jwks_url"),
        ({"audience": ()}, "issuers.main.audience"),
        ({"audience": ("maas", "")}, "issuers.main.audience"),
        ({"algorithms": ()}, "issuers.main.algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "issuers.main.algorithms"),
        ({"algorithms": ("none",)}, "issuers.main.algorithms"),
        ({"algorithms": ("ES256K",)}, "issuers.main.algorithms"),
        ({"algorithms": ("rs256",)}, "issuers.main.algorithms"),
        ({"principal": ""}, "issuers.main.principal"),
        ({"principal": "user:everybody"}, "issuers.main.principal"),
        ({"principal": "{kind}:{sub}"}, "issuers.main.principal"),
        ({"principal": "role:{sub}"}, "issuers.main.principal"),
        ({"principal": "user:{}"}, "issuers.main.principal"),
        ({"principal": "user:{a} {b}"}, "issuers.main.principal"),
        ({"principal": "user:{a"}, "issuers.main.principal"),
        ({"leeway_s": -1.0}, "issuers.main.leeway_s"),
        ({"leeway_s": 301.0}, "issuers.main.leeway_s"),
        ({"leeway_s": float("nan")}, "issuers.main.leeway_s"),
        ({"refresh_s": 0.0}, "issuers.main.refresh_s"),
        ({"refresh_s": 0.5}, "issuers.main.refresh_s"),
        ({"keep_s": 10.0}, "issuers.main.keep_s"),
        ({"keep_s": float("nan")}, "issuers.main.keep_s"),
        ({"roles": (RoleClaim("", "x", "role:a", "*"),)}, "issuers.main.roles[1].claim"),
        ({"roles": (RoleClaim(("a", ""), "x", "role:a", "*"),)}, "issuers.main.roles[1].claim"),
        ({"roles": (RoleClaim((), "x", "role:a", "*"),)}, "issuers.main.roles[1].claim"),
        ({"roles": (RoleClaim("a", "", "role:a", "*"),)}, "issuers.main.roles[1].value"),
        ({"roles": (RoleClaim("a", "x", "consumer", "*"),)}, "issuers.main.roles[1].role"),
        ({"roles": (RoleClaim("a", "x", "user:admin", "*"),)}, "issuers.main.roles[1].role"),
        ({"roles": (RoleClaim("a", "x", "role:a", ""),)}, "issuers.main.roles[1].team"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(fields: dict[str, Any], where: str) -> None:
    """One line that names the setting."""
    found = faults(**fields)
    assert len(found) == 1
    assert found[0].startswith(f"{where}: ")


def test_two_issuers_are_two() -> None:
    """A token must belong to exactly one."""
    assert len(issuer_faults({"a": GOOD, "b": GOOD})) == 1
    assert issuer_faults({"../a": GOOD})[0].startswith("issuers.../a: an issuer's name")


def test_issuers_are_read_from_file_and_environment(tmp_path: Path) -> None:
    """Lists come from a variable with commas."""
    path = tmp_path / "maas.toml"
    path.write_text(
        '[issuers.company]\nissuer = "https://id.example.com"\naudience = ["x"]\nprincipal = "user:{sub}"\n'
        '[[issuers.company.roles]]\nclaim = ["realm_access", "roles"]\nvalue = "v"\nrole = "role:r"\nteam = "t"\n'
    )
    environ = {"MAAS_ISSUERS__COMPANY__AUDIENCE": "maas,gateway", "MAAS_ISSUERS__COMPANY__LEEWAY_S": "5"}
    found = load_settings(path, environ)
    assert settings_of(settings_bytes(found)) == found, "what each of several workers is given"
    assert found.issuers == {
        "company": Issuer(
            "https://id.example.com",
            ("maas", "gateway"),
            "user:{sub}",
            roles=(RoleClaim(("realm_access", "roles"), "v", "role:r", "t"),),
            leeway_s=5.0,
        )
    }


def test_all_faults_of_all_issuers_are_told_together(tmp_path: Path) -> None:
    """Of those that do not decode, every bad value; of the others, every value that makes no sense."""
    path = tmp_path / "maas.toml"
    path.write_text(
        '[issuers.a]\nissuer = 7\naudience = "maas"\nnonsense = 1\n'
        '[issuers.b]\nissuer = "http://id.example.com"\nalgorithms = ["HS256"]\n'
        '[pools.c]\nengine = "magic"\nendpoints = 1\n'
        '[inference]\nport = -1\n[policies]\nd = "x"\n'
    )
    with pytest.raises(SettingsError) as refused:
        load_settings(path, {})
    for name in (
        "issuers.a.issuer",
        "issuers.a.audience",
        "issuers.a.nonsense",
        "issuers.b.issuer",
        "issuers.b.audience",
        "issuers.b.algorithms",
        "issuers.b.principal",
        "pools.c.engine",
        "pools.c.endpoints",
        "inference.port",
        "policies.d",
    ):
        assert [line for line in refused.value.problems if line.startswith(f"{name}: ")], name
