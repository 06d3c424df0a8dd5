"""Renders the messages of a chat into the one text that a model goes on with."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import jinja2
from jinja2 import Template

from gateway.errors import GatewayError, Kind
from gateway.snapshot.adapters import LONGEST_TEMPLATE
from gateway.templates import restrict
from gateway.templates.sandbox import BUDGET, MOST_CHARACTERS, Budget, OverBounds, Raised, Sandbox

LIMIT_S: Final = 0.25
"""Processor time of one rendering. A usual one takes a thousandth of that; while it runs, a worker does nothing else."""

_MOST_COMPILED = 256
_MOST_SHOWN = 200

Messages = Sequence[Mapping[str, object]]

_TRIAL: Messages = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello. What can I do?"},
    {"role": "user", "content": "Tell me a story."},
)


class ChatTemplates:
    """Compiles each template once; the ones used last are kept."""

    def __init__(self) -> None:
        self._sandbox = Sandbox()
        self._compiled: OrderedDict[str, Template] = OrderedDict()

    def render(self, source: str, messages: Messages) -> str:
        """The prompt, up to where the assistant speaks. Raises BAD_REQUEST for messages that the template cannot render."""
        try:
            return _rendered(self._template(source), messages)
        except Raised as refusal:
            words = str(refusal)[:_MOST_SHOWN]
            raise _refused(f"The alias's chat template refuses these messages: {words}") from refusal
        except OverBounds as error:
            raise _refused(f"The alias's chat template cannot be rendered: {error}.") from error
        except Exception as error:
            # Whatever a template does to these messages is between its owner and the caller; the error may quote them.
            words = f"The alias's chat template fails on these messages ({type(error).__name__})."
            raise _refused(words) from error

    def _template(self, source: str) -> Template:
        found = self._compiled.get(source)
        if found is None:
            found = self._compiled[source] = _compile(self._sandbox, source)
            if len(self._compiled) > _MOST_COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(source)
        return found


def template_problem(source: str) -> str | None:
    """Why the template cannot be used, in words that follow its name; None where it can. It is rendered once to see."""
    if not 1 <= len(source) <= LONGEST_TEMPLATE:
        return f"must have 1 to {LONGEST_TEMPLATE} characters"
    try:
        _rendered(_compile(Sandbox(), source), _TRIAL)
    except Raised:
        return None  # a template that wants other messages than these is one all the same
    except jinja2.TemplateSyntaxError as error:
        return f"is no template: line {error.lineno}: {error.message}"
    except restrict.Refused as error:
        return str(error)
    except OverBounds as error:
        return f"fails on a chat of three messages: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a text may do that somebody hands in as a template
        return f"fails on a chat of three messages: {type(error).__name__}: {str(error)[:_MOST_SHOWN]}"
    return None


def _compile(sandbox: Sandbox, source: str) -> Template:
    parsed = restrict.restricted(sandbox.parse(source))
    code = sandbox.compile(parsed)
    return sandbox.template_class.from_code(sandbox, code, sandbox.globals)


def _rendered(template: Template, messages: Messages) -> str:
    budget = Budget(LIMIT_S)
    pieces: list[str] = []
    characters = 0
    context = {"messages": list(messages), "add_generation_prompt": True, BUDGET: budget}
    for piece in template.generate(context):
        budget.text(len(piece))
        characters += len(piece)
        if characters > MOST_CHARACTERS:
            raise OverBounds(f"the prompt has more than {MOST_CHARACTERS} characters")
        pieces.append(piece)
    return "".join(pieces)


def _refused(words: str) -> GatewayError:
    return GatewayError(Kind.BAD_REQUEST, words, members={"param": "messages"})
