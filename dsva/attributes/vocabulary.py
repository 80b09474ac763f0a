"""The words: attributes in groups, and the templates that make prompts of attributes and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsva.json_files import strings
from dsva.yaml_files import read_mapping
from shards.errors import UserError
from shards.names import alias

SECTIONS = ("class_templates", "attribute_templates", "groups")


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
    read = [_read(path) for path in paths]
    groups: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for path, vocabulary in zip(paths, read, strict=True):
        for group, members in vocabulary.groups.items():
            if group in groups:
                raise UserError(f"{path}: there is a group {group!r} already: rename it, or give one vocabulary less")
            groups[group] = members
            for name in members:
                if other := owner.get(alias(name)):
                    raise UserError(f"{path}: the attribute {name!r} is in groups {other!r} and {group!r}: keep one of them")
                owner[alias(name)] = group
    classes, attributes = ([getattr(each, name) for each in read] for name in SECTIONS[:2])
    return Vocabulary(groups, _joined(classes), _joined(attributes))


def _read(path: Path) -> Vocabulary:
    value = read_mapping(path)
    if set(value) != set(SECTIONS):
        wrong = sorted(map(str, set(value) ^ set(SECTIONS)))
        raise UserError(f"{path} must have the sections {', '.join(SECTIONS)} and no other (see {wrong[0]!r}): correct the file")
    if not isinstance(value["groups"], dict) or not value["groups"]:
        raise UserError(f"{path}: groups must map each group's name to a list of attributes: correct the file")
    groups = {str(name): strings(members, path, f"group {name!r}") for name, members in value["groups"].items()}
    templates = [strings(value[section], path, section) for section in SECTIONS[:2]]
    for template in sum(templates, ()):
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise UserError(f"{path}: the template {template!r} must hold one {{}}: correct it")
    return Vocabulary(groups, templates[0], templates[1])


def _joined(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sum(lists, ())))
