"""YAML files that people write: bounded, free of control characters, with the numbers of YAML 1.2."""

import re
from pathlib import Path
from typing import Any

import yaml

from shards.errors import UserError
from shards.files import has_control

MAX_BYTES = 4 << 20
# What all aliases written out may come to, characters; a node counts for NODE more. A file of a few lines can claim all memory.
MAX_EXPANDED, NODE = 16 << 20, 16
_NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9]*)$",
    "tag:yaml.org,2002:float": r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$",
}


class Loader(yaml.SafeLoader):
    """YAML with the numbers of YAML 1.2: 25_5 is a name, not the number 255, and 1e-3 is a number."""

    def get_single_node(self) -> Any:
        """Return the document's tree, before anything is made of it."""
        node = super().get_single_node()
        _expanded(node, {})
        return node


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Dumper(yaml.SafeDumper):
    """Quotes names that look like numbers to any YAML, so that every reader takes them for names."""


for _tag, _pattern in _NUMBERS.items():
    for _side in (Loader, Dumper):
        _side.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


def parse(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        ValueError: not YAML, or too large with its aliases written out.
    """
    try:
        return yaml.load(text, Loader)
    # ValueError: a number of thousands of digits; RecursionError: thousands of brackets.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file of `key: value` lines holds; nothing for an empty file.

    Raises:
        UserError: unreadable, larger than `MAX_BYTES`, not YAML, or something else than a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no such file is: give another one")
        value = parse(content.decode())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give the path of a YAML file") from None
    except UserError:
        raise
    except ValueError as error:  # not UTF-8, too
        raise UserError(f"{path} cannot be read as YAML ({error}): correct the file") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__} where `key: value` lines are needed: correct the file")
    return value


def _expanded(node: Any, known: dict[int, int | None]) -> int:
    """Return the size of a tree with its aliases written out; `known` keeps that of each node, None while it is counted."""
    if node is None:
        return 0
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: an alias stands inside what it is an alias of")
        return size
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        size = len(node.value)
        if has_control(re.sub("[\t\n]", "", node.value)):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {node.value[:80]!r} has a control character")
    else:
        pairs = node.value if isinstance(node, yaml.MappingNode) else [node.value]
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated(node)
        size = sum(_expanded(child, known) for pair in pairs for child in pair)
    if size + NODE > MAX_EXPANDED:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: more than {MAX_EXPANDED >> 20} MiB with its aliases written out")
    known[id(node)] = size + NODE
    return size + NODE


def _refuse_repeated(node: yaml.MappingNode) -> None:
    """Raise an error for a key that stands twice: the first value would be lost without a word."""
    known: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in known:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value[:80]!r} is there twice")
            known.add(key.value)
