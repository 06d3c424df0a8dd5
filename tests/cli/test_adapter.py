"""`maas alias adapter` against a real gateway."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import REPOSITORY, Maas

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _digits(run: Maas) -> None:
    """The alias `digits`, without an adapter."""
    run("pool", "set", "local", "--engine", "embedded", "--yes")
    run("model", "register", REPOSITORY / "digits", "--team", "vision", "--pool", "local")
    run("alias", "set", "digits", "digits@1", "--team", "vision", "--yes")
    run("alias", "adapter", "remove", "digits", "--yes")


def test_an_adapter_is_set_shown_changed_and_removed(run: Maas, ask: Ask, tmp_path: Path) -> None:
    """What is not given has its default; what stands is shown before it is replaced."""
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages[0].content }}")
    made = ask(
        "alias", "adapter", "set", "digits", "--kind", "generate", "--template", template, "--max-tokens", 500,
        "--input", "stop=", "--input", "top_p=top_p", "--field", "exclude_input_in_output=true", "--field", "voice=low",
    )  # fmt: skip
    wanted = {
        "kind": "generate", "template": "{{ messages[0].content }}", "most_tokens": 500,
        "inputs": {"stop": None, "top_p": "top_p"}, "fields": {"exclude_input_in_output": True, "voice": "low"},
    }  # fmt: skip
    assert (made["adapter"], made["revision"]) == (wanted, 1)
    assert ask("alias", "adapter", "show", "digits") == made
    assert "top_p=top_p, stop=" in run("alias", "adapter", "show", "digits").stdout
    words = ("alias", "adapter", "set", "digits", "--kind", "embeddings", "--input", "text=TEXT", "--rank", 1)
    asked = run(*words, text="n\n")
    assert asked.exit_code == 1
    assert "most_tokens 500" in asked.stderr
    assert run(*words, "--yes").stdout == "digits: embeddings; input TEXT; rank 1 (revision 2)\n"
    assert run("alias", "adapter", "remove", "digits", "--yes").exit_code == 0
    assert run("alias", "adapter", "show", "digits").exit_code == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--kind", "embeddings", "--max-tokens", "5"), 2, "say anything"),
        (("--kind", "embeddings", "--input", "stop=x"), 2, "say anything"),
        (("--kind", "generate", "--rank", "1"), 2, "--rank"),
        (("--kind", "generate", "--input", "stop"), 2, "WHAT=NAME"),
        (("--kind", "generate", "--input", "voice=x"), 1, "voice"),
        (("--kind", "generate", "--field", "x=[1]"), 1, "fields"),
        (("--kind", "poems"), 2, "poems"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Maas, words: tuple[str, ...], status: int, says: str) -> None:
    """Usage by the command, the rest in the gateway's words."""
    found = run("alias", "adapter", "set", "digits", *words)
    assert found.exit_code == status
    assert says in found.output


def test_a_template_that_cannot_be_used_is_refused(run: Maas, tmp_path: Path) -> None:
    """With the line that is at fault."""
    template = tmp_path / "chat.jinja"
    template.write_text("one\n{% include 'x' %}")
    found = run("alias", "adapter", "set", "digits", "--kind", "generate", "--template", template)
    assert found.exit_code == 1
    assert "template: line 2: a chat template may not have a Include" in found.stderr
