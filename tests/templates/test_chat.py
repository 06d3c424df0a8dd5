"""Chat templates: those of real models render, and hostile ones end soon, whatever they try."""

import time

import pytest

from gateway.errors import GatewayError, Kind
from gateway.snapshot.adapters import DEFAULT_TEMPLATE
from gateway.templates import ChatTemplates, template_problem
from gateway.templates.chat import LIMIT_S

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hello "},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Bye"},
]

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% endif %}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' ~ (system ~ '\n' if loop.first and system is defined else '') ~ "
    "message['content'] | trim ~ ' [/INST]' }}{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
NAMESPACE = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{{ ns.last }}{{ messages[ns.last].content.split('y')[0].upper() }}{{ messages[0] | tojson }}"
)


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (DEFAULT_TEMPLATE, "system: Be brief.\nuser:  Hello \nassistant: Hi.\nuser: Bye\nassistant: "),
        (
            CHATML,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n"
            "<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
        ),
        (INST, "[INST] Be brief.\nHello [/INST]Hi.[INST] Bye [/INST]"),
        (NAMESPACE, '3B{"role": "system", "content": "Be brief."}'),
    ],
)
def test_templates_of_real_models_render(template: str, prompt: str) -> None:
    """ChatML, the bracketed form, a namespace: what chat templates are made of."""
    assert template_problem(template) is None
    assert ChatTemplates().render(template, MESSAGES) == prompt


def test_a_message_is_text_and_no_template() -> None:
    """What a caller writes is not run."""
    hostile = [{"role": "user", "content": "{{ 7 * 7 }}{% for %}"}]
    assert ChatTemplates().render("{{ messages[0].content }}", hostile) == "{{ 7 * 7 }}{% for %}"


def test_a_template_may_refuse_messages() -> None:
    """It says why."""
    with pytest.raises(GatewayError, match="Roles must alternate") as refusal:
        ChatTemplates().render(INST, [MESSAGES[1], MESSAGES[1]])
    assert (refusal.value.kind, refusal.value.members["param"]) == (Kind.BAD_REQUEST, "messages")


DOUBLING = "{{% set ns = namespace(x={start}) %}}{{% for i in range(100) %}}{{% set ns.x = {step} %}}{{% endfor %}}{{{{ ns.x }}}}"
HOSTILE = {
    "spins": "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
    "spins over text": "{% for a in range(10000) %}{% for c in messages|tojson|list %}{% endfor %}{% endfor %}",
    "writes for ever": "{% for a in range(10000) %}{% for b in range(10000) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    "doubles by +": DOUBLING.format(start="'ab'", step="ns.x + ns.x"),
    "doubles by ~": DOUBLING.format(start="'ab'", step="ns.x ~ ns.x"),
    "doubles by join": DOUBLING.format(start="'ab'", step="ns.x|join(ns.x)"),
    "doubles by replace": DOUBLING.format(start="'ab'", step="ns.x.replace('a', 'aaaa')"),
    "doubles a list": DOUBLING.format(start="messages", step="ns.x + ns.x"),
    "doubles a number": "{% set ns = namespace(x=9) %}{% for i in range(10000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "nests lists": DOUBLING.format(start="[1]", step="[ns.x, ns.x]"),
    "nests namespaces": DOUBLING.format(start="1", step="namespace(a=ns.x, b=ns.x)"),
    "multiplies": "{{ 'a' * 10000000000 }}",
    "raises to a power": "{{ 10 ** 10 ** 10 }}",
    "formats": "{{ '%999999999d' % 1 }}",
    "formats by a filter": "{{ '%999999999d'|format(1) }}",
    "formats by a method": "{{ '{:>999999999}'.format(1) }}",
    "pads": "{{ 'a'.ljust(99999999999) }}",
    "ranges": "{{ range(1000000000000)|list }}",
    "recurs": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "recurs by a loop": "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "reads files": "{% include '/etc/passwd' %}",
    "climbs out": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "climbs out by a filter": "{{ messages|attr('__class__') }}",
    "climbs out by a global": "{{ namespace.__init__.__globals__ }}",
    "changes what it is given": "{% set x = messages.append(1) %}",
    "is endless": "{{ 'x' }}" * 5000,
    "is no template": "{% for %}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_refused_soon(source: str) -> None:
    """By the control plane; and a worker that would get it all the same fails the call, and no more."""
    began = time.thread_time()
    assert template_problem(source) is not None
    with pytest.raises(GatewayError):
        ChatTemplates().render(source, MESSAGES)
    # Twice the limit, and on each side what one operation takes at most.
    assert time.thread_time() - began < 2 * LIMIT_S + 2.0


LATE = {
    "spins": "{% if messages|length > 3 %}{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}{% endif %}",
    "repeats": "{% for a in range(10000) %}{{ messages|tojson }}{% endfor %}",
    "compares": "{% for a in range(10000) %}{% if messages|tojson == messages|tojson %}{% endif %}{% endfor %}",
}


@pytest.mark.parametrize("source", LATE.values(), ids=LATE)
def test_a_template_that_is_hostile_to_large_chats_alone_is_bounded_too(source: str) -> None:
    """The trial of the control plane is a small one."""
    large = [{"role": "user", "content": "x" * 500_000}] * 4
    began = time.thread_time()
    with pytest.raises(GatewayError, match="cannot be rendered"):
        ChatTemplates().render(source, large)
    assert time.thread_time() - began < LIMIT_S + 2.0
