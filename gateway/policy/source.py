"""Where a policy, a model or a list of cases is read from."""

from pathlib import Path


class PolicyError(ValueError):
    """A policy, model or list of cases that is refused; `problems` has one line for each fault found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def text_of(source: Path | str) -> str:
    """The text behind `source`: a `Path` is a file; a `str` is the text itself where it is empty or
    holds a comma or a line break, as every row and every model does, and a file's name otherwise.

    Raises `PolicyError` for a file that cannot be read or is not UTF-8.
    """
    if isinstance(source, str):
        if not source or "\n" in source or "," in source:
            return source
        source = Path(source)
    try:
        # Bytes, so that a lone carriage return stays in its line, as it does for Casbin.
        return source.read_bytes().decode()
    except OSError as error:
        raise PolicyError([f"{source} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise PolicyError([f"{source} is not UTF-8: {error.reason} at byte {error.start}"]) from error
