"""What a check is given, and what it finds."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Asked:
    """What all checks are given.

    Attributes:
        folder: that is to be shared by the nodes.
        scratch: new folder in it, for the checks' files; whoever started them removes it.
        shards: shard set to be read; "" for none.
        gpus: that there must be; 0 expects nothing.
    """

    folder: str
    scratch: str
    shards: str = ""
    gpus: int = 0


@dataclass(frozen=True)
class Finding:
    """What one check found on one node.

    Attributes:
        check: its name.
        verdict: FAIL: runs will not work, or not be safe; WARN: they will, but worse than they could.
        said: what was found, in words.
        mend: what to do about it.
        node: where.
    """

    check: str
    verdict: Verdict
    said: str
    mend: str = ""
    node: str = ""
