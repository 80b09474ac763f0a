"""A progress bar with images and bytes a second and the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[int, int], None]


class _Rates(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = max(task.elapsed or 0.0, 1e-9)
        images, size = task.fields["images"] / seconds, task.completed / seconds / (1 << 20)
        return Text(f"{images:,.0f} images/s  {size:,.1f} MiB/s")


@contextmanager
def progress_bar(console: Console | None, what: str, total_bytes: int) -> Iterator[Advance]:
    """Show how far a job over `total_bytes` bytes is, where a console is given.

    Yields:
        A function that takes how many more images and bytes are done.
    """
    if console is None:
        yield lambda images, size: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        _Rates(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total_bytes, images=0)

        def advance(images: int, size: int) -> None:
            progress.update(task, advance=size, images=progress.tasks[0].fields["images"] + images)

        yield advance
