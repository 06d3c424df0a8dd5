"""Finds code that nothing uses, or only tests: vulture, less what a reader of names alone must get wrong.

Left out are the fields of records (encoded and decoded whole), methods of classes that a library calls (they inherit
from a class of that library), attributes set on other people's objects, and arguments (a caller's business).
Names that only something outside Python code knows stand in pyproject.toml, under `tool.vulture`.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vulture.core import Vulture

ROOT = Path(__file__).resolve().parent.parent
OURS = ("gateway", "loadtests", "model_repository", "scripts", "tests")
# Bases that call nothing by name.
PLAIN_BASES = {
    "ABC",
    "Enum",
    "Exception",
    "Generic",
    "IntEnum",
    "NamedTuple",
    "Protocol",
    "StrEnum",
    "Struct",
}


def foreign_names(module: ast.Module) -> set[str]:
    """The names in a file that come from elsewhere than this repository."""
    names: set[str] = set()
    for node in ast.walk(module):
        match node:
            case ast.Import(aliases):
                names |= {
                    (alias.asname or alias.name).split(".")[0]
                    for alias in aliases
                    if alias.name.split(".")[0] not in OURS
                }
            case ast.ImportFrom(module=str(source), names=aliases) if source.split(".")[0] not in OURS:
                names |= {alias.asname or alias.name for alias in aliases}
    return names


def is_foreign(base: ast.expr, foreign: set[str]) -> bool:
    """Whether a base class is a library's and may call what its subclasses define."""
    match base:
        case ast.Subscript(value=value):
            return is_foreign(value, foreign)
        case ast.Attribute(value=ast.Name(id=package), attr=name):
            return package in foreign and name not in PLAIN_BASES
        case ast.Name(id=name):
            return name in foreign and name not in PLAIN_BASES
    return False


def excused(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything in a file that may look unused and need not be."""
    foreign = foreign_names(module)
    for node in ast.walk(module):
        match node:
            case ast.ClassDef(body=body, bases=bases):
                called_by_library = any(is_foreign(base, foreign) for base in bases)
                for part in body:
                    match part:
                        case ast.AnnAssign(target=ast.Name(id=name), lineno=line):
                            yield line, name
                        case ast.Assign(targets=[ast.Name(id=name)], lineno=line) if called_by_library:
                            yield line, name
                        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if (
                            called_by_library
                        ):
                            yield from ((line, name) for line in range(first_line(part), part.body[0].lineno))
            case ast.arg(arg=name, lineno=line):
                yield line, name
            case ast.Attribute(value=ast.expr() as owner, attr=name, ctx=ast.Store(), lineno=line):
                if not (isinstance(owner, ast.Name) and owner.id == "self"):
                    yield line, name


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A function's first line, its decorators included."""
    return min([decorator.lineno for decorator in function.decorator_list] + [function.lineno])


def unused(paths: list[str], settings: dict[str, Any]) -> dict[str, str]:
    """Place to message of everything in these folders that nothing in them uses."""
    finder = Vulture(ignore_names=settings["ignore_names"], ignore_decorators=settings["ignore_decorators"])
    finder.scavenge(
        [str(ROOT / path) for path in paths], [str(ROOT / pattern) for pattern in settings["exclude"]]
    )
    excuses: dict[Path, set[tuple[int, str]]] = {}
    found = {}
    for item in finder.get_unused_code(min_confidence=settings["min_confidence"]):
        path = Path(item.filename).resolve()
        if path not in excuses:
            excuses[path] = set(excused(ast.parse(path.read_text(encoding="utf-8"))))
        if (item.first_lineno, item.name) not in excuses[path]:
            found[f"{path.relative_to(ROOT)}:{item.first_lineno}"] = str(item.message)
    return found


def main() -> int:
    """Prints what nothing uses, and what tests alone use; 1 if there is anything."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["vulture"]
    by_nothing = unused(settings["paths"], settings)
    by_tests_alone = unused([path for path in settings["paths"] if path != "tests"], settings)
    for place, message in by_nothing.items():
        print(f"{place}: {message}")
    for place in sorted(by_tests_alone.keys() - by_nothing.keys()):
        print(f"{place}: {by_tests_alone[place]} but by tests")
    return 1 if by_nothing or by_tests_alone else 0


if __name__ == "__main__":
    sys.exit(main())
