"""What tests/slow.md lists."""

import re
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parents[1] / "slow.md"
ROW = re.compile(r"^\| `([^`]+)` \| (\d+) \| (.*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class SlowTest:
    """A test, or a file or folder of tests.

    Attributes:
        name: as pytest takes it, such as `tests/test_readme.py::test_every_command_of_the_journey`, from the project's folder.
        seconds: that all of it takes.
        why: what it is worth.
    """

    name: str
    seconds: int
    why: str

    def covers(self, test: str) -> bool:
        """Tell whether a test, named as pytest does, is this one, one of its cases, or lies below it."""
        return test == self.name or test.startswith((f"{self.name}[", f"{self.name}::", f"{self.name}/"))


def slow_tests() -> list[SlowTest]:
    """All that are listed, in their order."""
    return [SlowTest(name, int(seconds), why) for name, seconds, why in ROW.findall(LIST.read_text())]
