"""What a terminal shows of work under way: progress bars, and what is waited for. Nothing is drawn until `draw_on` says where."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int, int], None]

_console: Console | None = None


class _Rates(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = max(task.elapsed or 0.0, 1e-9)
        images, size = task.fields["images"] / seconds, task.completed / seconds / (1 << 20)
        return Text(f"{images:,.0f} images/s  {size:,.1f} MiB/s")


def draw_on(console: Console | None) -> None:
    """Have all bars drawn on a terminal from now on, the one on which messages appear; or nowhere."""
    global _console  # noqa: PLW0603 (a process has one terminal)
    _console = console


def new_bar(*columns: ProgressColumn) -> Progress | None:
    """Return a bar that was not started yet; None where nothing is drawn."""
    return Progress(*columns, console=_console) if _console else None


@contextmanager
def progress_bar(what: str, total_bytes: int) -> Iterator[Advance]:
    """Show how far a job over `total_bytes` bytes is: images and bytes a second, and the time left.

    Yields:
        A function that takes how many more images and bytes are done.
    """
    bar = new_bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        _Rates(),
        TimeRemainingColumn(),
    )
    if bar is None:
        yield lambda images, size: None
        return
    with bar:
        task = bar.add_task(what, total=total_bytes, images=0)

        def advance(images: int, size: int) -> None:
            bar.update(task, advance=size, images=bar.tasks[0].fields["images"] + images)

        yield advance


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is waited for.

    Yields:
        A function that changes the text.
    """
    if _console is None:
        yield lambda changed: None
        return
    with _console.status(Text(text)) as status:
        yield lambda changed: status.update(Text(changed))
