"""What a chat template may consist of: what chat templates need, and nothing that could go on for ever unseen.

There is no way to repeat but a loop, and no way to grow a text but those that the sandbox bounds. Each is rewritten into a
call of the sandbox's own filters, whose names no template can write.
"""

from typing import Final, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

MOST_NODES: Final = 4_000
"""Parts of a template; those of well-known models have some hundreds. What is in no loop runs once."""

LOOP, SLICE, JOIN = "loop over", "slice of", "join of"
"""The sandbox's filters behind loops, slices and `~`."""

FILTERS: Final = frozenset(
    {
        "capitalize", "count", "d", "default", "first", "int", "items", "join", "last", "length", "list", "lower",
        "replace", "string", "title", "tojson", "trim", "upper",
    }
)  # fmt: skip

TESTS: Final = frozenset(
    {
        "boolean", "defined", "eq", "equalto", "even", "false", "in", "integer", "iterable", "mapping", "ne", "none",
        "number", "odd", "sequence", "string", "true", "undefined",
    }
)  # fmt: skip

METHODS: Final = frozenset(
    {
        "capitalize", "endswith", "get", "items", "keys", "lower", "lstrip", "replace", "rstrip", "split",
        "startswith", "strip", "title", "upper", "values",
    }
)  # fmt: skip

FUNCTIONS: Final = frozenset({"namespace", "raise_exception", "range"})

_PARTS: Final = (
    nodes.Add, nodes.And, nodes.Assign, nodes.Call, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const,
    nodes.Dict, nodes.Filter, nodes.For, nodes.Getattr, nodes.Getitem, nodes.If, nodes.Keyword, nodes.List, nodes.Mod,
    nodes.Name, nodes.Neg, nodes.Not, nodes.NSRef, nodes.Operand, nodes.Or, nodes.Output, nodes.Pair, nodes.Slice,
    nodes.Sub, nodes.Template, nodes.TemplateData, nodes.Test, nodes.Tuple,
)  # fmt: skip


class Refused(ValueError):
    """The template has a part that none may have; says which, and where."""


def restricted(template: nodes.Template) -> nodes.Template:
    """The template with loops, slices and `~` in the sandbox's hands. Raises `Refused`."""
    for count, node in enumerate(template.find_all(nodes.Node)):
        if count >= MOST_NODES:
            raise Refused(f"has more than {MOST_NODES} parts")
        problem = _problem(node)
        if problem is not None:
            raise Refused(f"line {node.lineno}: {problem}")
    rewritten: nodes.Template = _Rewriting().visit(template)
    return rewritten


def _problem(node: nodes.Node) -> str | None:
    if not isinstance(node, _PARTS):
        return f"a chat template may not have a {type(node).__name__}"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"there is no filter {node.name!r} here; there are {', '.join(sorted(FILTERS))}"
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        return f"there is no test {node.name!r} here; there are {', '.join(sorted(TESTS))}"
    if isinstance(node, nodes.For) and node.recursive:
        return "a loop may not be recursive"
    if isinstance(node, nodes.Name | nodes.NSRef) and node.name.startswith("_"):
        return f"the name {node.name!r} begins with an underscore"
    if isinstance(node, nodes.List | nodes.Dict) and not _constant(node):
        # Lists of lists of lists are small to make, and endless to write out.
        return "a list or object written in a template holds constants alone"
    if isinstance(node, nodes.Tuple) and node.ctx == "load" and not _constant(node):
        return "a tuple written in a template holds constants alone"
    if isinstance(node, nodes.Call):
        return _call_problem(node)
    return None


def _constant(node: nodes.Node) -> bool:
    kinds = (nodes.Const, nodes.Pair, nodes.List, nodes.Dict, nodes.Tuple)
    return all(isinstance(each, kinds) for each in node.find_all(nodes.Node))


def _call_problem(call: nodes.Call) -> str | None:
    called = call.node
    if isinstance(called, nodes.Name) and called.name in FUNCTIONS:
        return None
    if isinstance(called, nodes.Getattr) and called.attr in METHODS:
        return None
    known = ", ".join(sorted(FUNCTIONS)) + ", and of values ." + ", .".join(sorted(METHODS))
    return f"it calls what may not be called; there are {known}"


class _Rewriting(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by the node
        self.generic_visit(node)
        node.iter = _filter(cast(nodes.Expr, node.iter), LOOP, [], node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), JOIN, [], node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        arguments = [nodes.Const(None, lineno=node.lineno) if end is None else end for end in ends]
        return _filter(node.node, SLICE, arguments, node)


def _filter(value: nodes.Expr, name: str, arguments: list[nodes.Expr], place: nodes.Node) -> nodes.Filter:
    made = nodes.Filter(value, name, arguments, [], None, None, lineno=place.lineno)
    made.environment = place.environment
    return made
