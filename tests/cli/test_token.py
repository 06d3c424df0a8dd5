"""`maas token check` and the doctor's look at issuers: what callers are never told, operators are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.doctor.issuers import look_at_issuers
from gateway.cli.main import maas
from gateway.settings import load_settings
from gateway.tokens.last_good import LastGoodKeys
from tests.tokens.issuer import Issuer, Signer, answer


@pytest.fixture(scope="module")
def signer() -> Signer:
    """A key, made once."""
    return Signer("first", "ES256")


@pytest.fixture
def issuer(signer: Signer) -> Iterator[Issuer]:
    """An issuer of one's own."""
    found = Issuer(signer)
    yield found
    found.close()


@pytest.fixture
def config(issuer: Issuer, tmp_path: Path) -> Path:
    """Settings that declare it."""
    path = tmp_path / "maas.toml"
    path.write_text(
        f'data_dir = "{tmp_path}"\n[issuers.company]\nissuer = "{issuer.url}"\naudience = ["maas"]\n'
        'principal = "user:{preferred_username}"\n[[issuers.company.roles]]\nclaim = "groups"\nvalue = "g"\n'
        'role = "role:consumer"\nteam = "vision"\n'
    )
    return path


def check(config: Path, token: str, *options: str) -> Result:
    """Check a token on standard input."""
    return CliRunner().invoke(
        maas, ["token", "check", "-", "--config", str(config), *options], input=token + "\n"
    )


def test_a_good_token_is_explained(config: Path, issuer: Issuer) -> None:
    """Principal, issuer, roles and until when, for people and for programs."""
    token = issuer.token(preferred_username="anna", groups=["g"], exp=2_000_000_000)
    told = check(config, token)
    assert told.exit_code == 0, told.output
    for words in ("user:anna", "company", "role:consumer in vision", "2033-05-18 03:33:50Z"):
        assert words in told.stdout
    found = json.loads(check(config, token, "--json").stdout)
    assert found == {
        "principal": "user:anna",
        "issuer": "company",
        "roles": [["role:consumer", "vision"]],
        "accepted_until": "2033-05-18T03:33:50+00:00",
    }


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": "x"}, "`aud`"),
        ({"exp": 1}, "expired"),
        ({"iss": "https://id.example.com"}, "`iss`"),
        ({"preferred_username": "a b"}, "`principal`"),
        ({"cnf": {}}, "`cnf`"),
    ],
)
def test_a_refused_token_is_told_why(
    config: Path, issuer: Issuer, claims: dict[str, object], words: str
) -> None:
    """In one line, with status 1, and never the token itself."""
    token = issuer.token(**({"preferred_username": "anna"} | claims))  # type: ignore[arg-type]
    told = check(config, token)
    assert told.exit_code == 1
    assert words in told.stderr
    assert told.stderr.count("\n") == 1
    assert token not in told.output


def test_every_reason_has_words() -> None:
    """So that none ends in a traceback."""
    from typing import get_args

    from gateway.cli.token import _WHY
    from gateway.tokens.form import Reason

    assert set(_WHY) == set(get_args(Reason))


def test_without_issuers_or_token_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched then."""
    path = tmp_path / "maas.toml"
    path.write_text("")
    assert "docs/tokens.md" in check(path, "a.b.c").stderr
    monkeypatch.delenv("MAAS_KEY", raising=False)
    result = CliRunner().invoke(maas, ["token", "check", "--config", str(path)])
    assert (result.exit_code, "MAAS_KEY" in result.stderr) == (1, True)


def test_while_the_issuer_is_away_its_last_good_keys_answer(config: Path, issuer: Issuer) -> None:
    """As in the gateway; that it is away is said."""
    settings = load_settings(config, {})
    token = issuer.token(preferred_username="anna")
    issuer.behave = lambda handler: answer(handler, 500, b"")
    assert "no key with its `kid`" in check(config, token).stderr
    store = LastGoodKeys(settings.data_dir / "issuers")
    store.save("company", settings.issuers["company"], issuer.key_set, time.time())
    told = check(config, token)
    assert told.exit_code == 0
    assert "answers 500" in told.stderr


def test_the_doctor_looks_at_issuers(config: Path, issuer: Issuer) -> None:
    """Well; away with last good keys; away without; and whatever it is, what to do."""
    settings = load_settings(config, {})

    def found() -> tuple[str, str, str]:
        (finding,) = look_at_issuers(settings)
        return finding.severity, finding.found, finding.todo

    assert found() == ("ok", f"{issuer.url}: 1 keys, for ES256", "")
    issuer.behave = lambda handler: answer(handler, 500, b"")
    severity, text, todo = found()
    assert (severity, "answers 500" in text, issuer.url in todo) == ("broken", True, True)
    store = LastGoodKeys(settings.data_dir / "issuers")
    store.save("company", settings.issuers["company"], issuer.key_set, time.time())
    assert found()[0] == "warning"
    path = settings.data_dir / "issuers" / "company"
    path.write_bytes(path.read_bytes()[:-9])
    assert (found()[0], "damaged" in found()[1]) == ("broken", True)
