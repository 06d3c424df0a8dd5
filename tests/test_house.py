"""The house's own rules that neither the linter nor the import rules can see."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import gateway.observe.metrics  # noqa: F401 - fills the registry

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = ROOT / "gateway"
EVERYWHERE = [
    path
    for folder in ("gateway", "loadtests", "model_repository", "scripts", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
RECORD_HEADINGS = ["The question", "Decision", "What it costs", "What holds it", "Think again when"]
METRIC_TYPES = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"}


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def called_name(call: ast.Call) -> str:
    """`Permit` of both `Permit(…)` and `types.Permit(…)`."""
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""


def imported_modules(module: ast.Module) -> Iterator[str]:
    """Every module that a file names in an import, inside functions too."""
    for node in ast.walk(module):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(name)):
                yield name


def files_that_call(name: str) -> set[str]:
    """The files of the gateway in which something of this name is called."""
    return {
        str(path.relative_to(ROOT))
        for path in sorted(GATEWAY.rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called_name(node) == name
    }


def own_collectors() -> set[str]:
    """The gateway's own kinds of metrics, as classes; `Merged` repeats what other processes count."""
    return {
        node.name
        for path in sorted((GATEWAY / "observe").glob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Collector" for base in node.bases)
    } - {"Merged"}


def written_metrics() -> list[tuple[str, str]]:
    """Kind and name of each metric whose name is written out where it is made; `Counts` make counters."""
    kinds = {kind: kind for kind in METRIC_TYPES} | {"Counts": "Counter"}
    return [
        (kinds[called_name(node)], str(node.args[0].value))
        for node in ast.walk(tree(GATEWAY / "observe" / "metrics.py"))
        if isinstance(node, ast.Call)
        and called_name(node) in kinds
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def locked(name: str) -> dict[str, set[str]]:
    """Package to versions of a lock file; a package may have one for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if pinned := re.match(r"([a-z0-9.-]+)==([^ ]+)", line):
            found.setdefault(pinned[1], set()).add(pinned[2])
    return found


def wanted_packages() -> set[str]:
    """Every package that pyproject.toml asks for, by any of its lists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0] for one in lists for requirement in one}


@pytest.mark.parametrize(("proof", "source"), [("Permit", "authorize"), ("Admission", "admit")])
def test_a_proof_comes_from_its_one_step(proof: str, source: str) -> None:
    """A `Permit` is made by `authorize` alone and an `Admission` by `admit` alone: no later step can be reached around them."""
    assert files_that_call(proof) <= {f"gateway/dataplane/{source}.py"}


def test_the_pipeline_is_a_table_of_contents() -> None:
    """`pipeline.py` stays under 100 lines: a reader finds the way of a request on one screen or two."""
    assert len((GATEWAY / "dataplane" / "pipeline.py").read_text(encoding="utf-8").splitlines()) < 100


def test_no_file_is_a_hall() -> None:
    """No file passes 400 lines; one that passes 300 is usually two things already."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in EVERYWHERE}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_names_say_what_is_inside() -> None:
    """No file or folder has a name that anything could hide behind."""
    vague = [
        str(path.relative_to(ROOT))
        for path in EVERYWHERE
        if VAGUE_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    ]
    assert vague == []


def test_every_metric_is_defined_in_one_place() -> None:
    """Metrics are made in `observe/metrics.py` alone, be they the library's kinds or our own.

    Outside `observe` the metrics library only reads what was scraped.
    """
    definitions = GATEWAY / "observe" / "metrics.py"
    own = own_collectors()
    assert {"Counts", "Tallies", "QuotaTallies"} <= own
    strangers = []
    for path in sorted(GATEWAY.rglob("*.py")):
        module = tree(path)
        imported = set(imported_modules(module)) - {"prometheus_client.parser"}
        knows_library = any(name.split(".")[0] == "prometheus_client" for name in imported)
        if knows_library and path.parent != GATEWAY / "observe":
            strangers.append(f"{path.relative_to(ROOT)} imports prometheus_client")
        if path != definitions:
            makers = own | (METRIC_TYPES if knows_library else set())
            strangers += [
                f"{path.relative_to(ROOT)}:{node.lineno} makes a metric"
                for node in ast.walk(module)
                if isinstance(node, ast.Call) and called_name(node) in makers
            ]
    assert strangers == []


def test_metrics_are_named_by_the_rules_of_prometheus() -> None:
    """Each name stands once, begins with `maas_`, and says its kind: a counter ends in `_total`, nothing else does."""
    written = written_metrics()
    families = [
        family for family in REGISTRY.collect() if not family.name.startswith(("python_", "process_"))
    ]
    # The library takes `_total` off a counter's name, and puts it back when it is asked.
    names = [family.name for family in families]
    assert {name.removesuffix("_total") for _, name in written} < set(names)
    assert {"maas_requests", "maas_request_duration_seconds", "maas_quota_taken"} <= set(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"maas_[a-z][a-z0-9_]*", name), name
        assert not name.endswith("_total"), name
    for kind, name in written:
        assert name.endswith("_total") == (kind == "Counter"), name


def test_every_test_says_what_must_hold() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "installer.txt"])
def test_requirements_are_locked_without_an_index(name: str) -> None:
    """Every package has one exact version and hashes, and no line says where to fetch it: that is the machine's to say."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry and not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


def test_installations_grow() -> None:
    """The runtime's requirements are a part of the development's, at the same versions: one installs over the other."""
    development = locked("dev.txt")
    runtime = locked("runtime.txt")
    assert runtime == {package: development.get(package) for package in runtime}


def test_every_dependency_has_a_reason() -> None:
    """What pyproject.toml asks for is listed in the decision record on dependencies."""
    record = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text(encoding="utf-8")
    assert {package for package in wanted_packages() if f"`{package}`" not in record} == set()


def test_decision_records_have_numbers_of_their_own() -> None:
    """No two decision records share a number."""
    numbers = [int(path.name[:4]) for path in RECORDS]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name[:4])
def test_decision_records_have_one_form(record: Path) -> None:
    """A title with its number, a date, and the five headings of record 0001, in their order."""
    text = record.read_text(encoding="utf-8")
    assert re.match(
        rf"# {record.name[:4]}: [^\n]+\n\n\d{{4}}-\d\d-\d\d\. (Accepted|Replaced by \d{{4}})\.\n\n", text
    )
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == RECORD_HEADINGS
