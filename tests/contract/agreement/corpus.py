"""All calls on which the engines are compared."""

from tests.contract.agreement import answers, bad_requests, bad_tensors, extensions
from tests.contract.agreement.case import Case, Corpus


def corpus() -> list[Case]:
    """All cases; their names are unique."""
    collected = Corpus()
    for part in (
        answers.plain,
        answers.binaries,
        answers.descriptions,
        bad_tensors.bad_tensors,
        bad_requests.bad_binaries,
        bad_requests.bad_documents,
        extensions.classification,
        extensions.compression,
        extensions.generate,
    ):
        part(collected)
    return collected.cases
