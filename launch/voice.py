"""How the command line speaks: messages of all packages by Python's logging on standard error, answers on standard output.

Only a program sets this up. The packages themselves just log, and who imports them decides what is heard of it.
"""

import logging
import os
import sys

from rich.console import Console, ConsoleRenderable, RenderableType
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.text import Text
from rich.traceback import Traceback

from dsva.processes.environment import SlurmStep, position
from dsva.tables import Table
from shards.errors import UserError
from shards.files import without_control
from shards.progress import draw_on

LOG = "DSVA_LOG"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
PACKAGES = ("shards", "dsva", "launch", "__main__")  # the last is a module of theirs that `python -m` runs
STYLES = {logging.WARNING: "bold yellow", logging.ERROR: "bold red"}


def set_up(level: str | None = None, *, job: bool = False) -> None:
    """Have this process speak; called again, anew.

    Of several processes rank 0 speaks, the others tell errors only.

    Args:
        level: below which nothing is said, one of `LEVELS`; if none is given, what DSVA_LOG says.
        job: whether it is a job's process: in a file, which is read later, its messages have a time stamp.

    Raises:
        UserError: DSVA_LOG is no level; messages from `info` on are heard nevertheless.
    """
    root, console = logging.getLogger(), Console(stderr=True, soft_wrap=True)
    for before in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(before)
    handler = _Handler(console, stamped=job and not console.is_terminal)
    handler.setLevel(logging.NOTSET if speaks() else logging.ERROR)
    root.addHandler(handler)
    _listen(logging.INFO)
    threshold = LEVELS[level or _asked()]
    _listen(threshold)
    draw_on(console if console.is_terminal and threshold <= logging.INFO and speaks() else None)


def set_up_job() -> None:
    """Have a job's process speak, unless it is the command itself that carries the job out."""
    if not any(isinstance(handler, _Handler) for handler in logging.getLogger().handlers):
        set_up(job=True)


def level() -> str:
    """Return the level that this process speaks at, for the environment of those that it starts."""
    threshold = logging.getLogger(PACKAGES[0]).getEffectiveLevel()
    return next((name for name, value in LEVELS.items() if value == threshold), "info")


def speaks() -> bool:
    """Tell whether this is rank 0, or the only process, as far as the environment says."""
    try:
        step = None if "WORLD_SIZE" in os.environ else SlurmStep.of(os.environ)  # a launcher within a step says more
        return (step.position if step else position(os.environ)).rank == 0
    except UserError:  # told where the processes join
        return True


def show(*answers: str | Table | RenderableType) -> None:
    """Print a command's answer on standard output, on rank 0: texts sign by sign, tables as wide as the terminal."""
    if not speaks():
        return
    console = Console(soft_wrap=not sys.stdout.isatty())  # a file may be searched: every sentence has one line
    for answer in answers:
        if isinstance(answer, str):
            print(answer, flush=True)
        else:
            console.print(answer.rich() if isinstance(answer, Table) else answer)


def _listen(threshold: int) -> None:
    for package in PACKAGES:
        logging.getLogger(package).setLevel(threshold)


def _asked() -> str:
    asked = os.environ.get(LOG) or "info"
    if asked.lower() not in LEVELS:
        raise UserError(f"the environment variable {LOG}={asked!r} is no level: set it to {', '.join(LEVELS)}, or unset it")
    return asked.lower()


class _Handler(RichHandler):
    """Shows messages as they are, without columns, above a progress bar where one is drawn; a fault in them ends nothing."""

    def __init__(self, console: Console, stamped: bool) -> None:
        super().__init__(console=console, show_path=False, markup=False, highlighter=NullHighlighter())
        self.setFormatter(_Formatter("%(asctime)s %(message)s" if stamped else "%(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except Exception:  # a message that does not fit its arguments, from whatever package
            self.handleError(record)

    def render_message(self, record: logging.LogRecord, message: str) -> Text:
        text = Text(message)
        word = _word(record)
        text.stylize(STYLES.get(record.levelno, ""), start := message.find(word), start + len(word))
        return text

    def render(
        self, *, record: logging.LogRecord, traceback: Traceback | None, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        return message_renderable


class _Formatter(logging.Formatter):
    """Puts `warning: ` or `error: ` before a message, and escapes for control characters, which names may hold."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        lines = map(without_control, f"{_word(record)}{record.message}".split("\n"))
        record.message = "\n".join(lines)
        return super().formatMessage(record)


def _word(record: logging.LogRecord) -> str:
    return f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
