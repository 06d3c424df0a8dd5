"""How the story is told: scenes, lines and bars; coloured only where a person watches."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gateway.cli.output import Refused, safe

_SHADES = " .:-=+*#%@"
_INK = 16
_BAR_WIDTH = 40


class Stage:
    """Prints the story. With `quiet`, nothing of it."""

    def __init__(self, quiet: bool = False) -> None:
        # Width is left to the terminal; in a pipe lines stay as they were written.
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._scene = 0

    def scene(self, title: str) -> None:
        """The next scene begins."""
        self._scene += 1
        self._console.print()
        self._console.print(Text(f"{self._scene}  {title}", style="bold cyan"))

    def tell(self, text: str) -> None:
        """A line of the story."""
        self._line(f"   {text}")

    def request(self, who: str, what: str, answer: str, ok: bool = True) -> None:
        """One request and its answer, as one would type and read them."""
        line = Text(f"   {safe(who):<9} {safe(what)}\n             ")
        line.append(f"-> {safe(answer)}", style="green" if ok else "yellow")
        self._console.print(line)

    def picture(self, pixels: Sequence[float]) -> None:
        """An 8 by 8 image, 0 (paper) to 16 (ink), two letters a pixel, because letters are tall."""
        for row in range(0, 64, 8):
            shades = (
                _SHADES[round(value / _INK * (len(_SHADES) - 1))] * 2 for value in pixels[row : row + 8]
            )
            self._console.print(Text(f"        |{''.join(shades)}|"))

    def bars(self, counts: Sequence[tuple[str, int]]) -> None:
        """How many of each, as bars."""
        total = sum(count for _, count in counts) or 1
        for label, count in counts:
            bar = "#" * round(count / total * _BAR_WIDTH)
            self._console.print(Text(f"        {safe(label):<10} {count:>4}  ").append(bar, style="cyan"))

    def plain(self, text: str = "") -> None:
        """A line that stands by itself."""
        self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(Text(safe(text)))


def expect(holds: bool, otherwise: str) -> None:
    """A story that does not come true is a failure of the gateway, not a turn of the plot."""
    if not holds:
        raise Refused(f"the demo went wrong: {otherwise}")
