"""Small YAML files with one typed section, checked as an experiment's configuration is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dsva.config import Section, sentence
from dsva.yaml_files import read_mapping
from shards.errors import UserError

S = TypeVar("S", bound=Section)


def read(kind: type[S], file: Path | None, changes: Mapping[str, Any]) -> S:
    """Read `file`, if one is given, change some of its values, and check all of them.

    Raises:
        UserError: unreadable, unknown key (with the nearest known one), or a value out of range.
    """
    values = read_mapping(file) if file else {}
    try:
        return kind.model_validate({**values, **changes})
    except ValidationError as error:
        raise UserError(f"{file or 'the options'}: {sentence(kind, error)}") from None
