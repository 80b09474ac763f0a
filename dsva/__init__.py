"""Deep Semantic-Visual Alignment: classes, model, training, checkpoints, evaluation. Imports `shards`.

The names below are for programs; each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsva.api import fit, load, open_set, read_results
    from dsva.train.stopping import StoppedError
    from shards.errors import UserError
else:  # type checkers would take any name for one that the package has

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("dsva.api"), name)


__all__ = ["StoppedError", "UserError", "fit", "load", "open_set", "read_results"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
