"""The words: attributes in groups, and the templates that make prompts of attributes and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from dsva.json_files import Name, Names, Schema, checked
from dsva.yaml_files import read_mapping
from shards.errors import UserError
from shards.names import alias


def _with_place(templates: list[str]) -> list[str]:
    for template in templates:
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise ValueError(f"the template {template!r} must hold one {{}}")
    return templates


_Templates = Annotated[Names, AfterValidator(_with_place)]


class _Content(Schema):
    """A vocabulary as a file has it; a group may be called by a number."""

    model_config = ConfigDict(extra="forbid")

    class_templates: _Templates
    attribute_templates: _Templates
    groups: Annotated[dict[Annotated[Name, BeforeValidator(str)], Names], Field(min_length=1)]


@dataclass(frozen=True)
class Vocabulary:
    """What a table's columns are about, and how a model is asked.

    Attributes:
        groups: group name -> its attributes; no attribute is in two.
        class_templates: texts in which {} stands for a class.
        attribute_templates: texts in which {} stands for an attribute.
    """

    groups: Mapping[str, tuple[str, ...]]
    class_templates: tuple[str, ...]
    attribute_templates: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All attributes, group after group, [K]."""
        return tuple(name for members in self.groups.values() for name in members)


PLAIN = Vocabulary({}, ("{}",), ())  # descriptions as they are


def read_vocabularies(paths: Sequence[Path]) -> Vocabulary:
    """Join YAML vocabularies: their groups one after the other, their templates without repeats.

    Raises:
        UserError: unreadable, a section missing or unknown, a template without one {}, or a group or attribute given twice.
    """
    read = [checked(_Content, read_mapping(path), path) for path in paths]
    groups: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for path, vocabulary in zip(paths, read, strict=True):
        for group, members in vocabulary.groups.items():
            if group in groups:
                raise UserError(f"{path}: there is a group {group!r} already: rename it, or give one vocabulary less")
            groups[group] = tuple(members)
            for name in members:
                if other := owner.get(alias(name)):
                    raise UserError(f"{path}: the attribute {name!r} is in groups {other!r} and {group!r}: keep one of them")
                owner[alias(name)] = group
    classes, attributes = ([each.class_templates for each in read], [each.attribute_templates for each in read])
    return Vocabulary(groups, _joined(classes), _joined(attributes))


def _joined(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(lists)))
