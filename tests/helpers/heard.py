"""What the packages say, for tests that look at it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO


@contextmanager
def heard() -> Iterator[StringIO]:
    """Give the messages of the packages, from `info` on, a line each: LEVEL: message."""
    said = StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    packages = [logging.getLogger(name) for name in ("shards", "dsva", "launch")]
    before = [package.level for package in packages]
    for package in packages:
        package.addHandler(handler)
        package.setLevel(logging.INFO)
    try:
        yield said
    finally:
        for package, level in zip(packages, before, strict=True):
            package.removeHandler(handler)
            package.setLevel(level)
