"""Python and the packages, against what the project says that it needs; nothing is imported for it."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from launch.doctor.finding import Asked, Finding

EXTRAS = ("deepspeed", "tables", "geo", "webdataset")  # what users may choose to install
OURSELVES = "dsva"


def python(_: Asked, running: str = sys.version.split()[0], needed: str | None = None) -> Finding:
    """Compare the version of Python."""
    needed = needed or metadata(OURSELVES)["Requires-Python"]
    fits = SpecifierSet(needed).contains(running, prereleases=True)
    return Finding("python", "OK" if fits else "FAIL", f"{running}, needed {needed}", "" if fits else f"use Python {needed}")


def packages(_: Asked, needed: Sequence[str] | None = None) -> Finding:
    """Compare the versions of the packages.

    Args:
        needed: requirements, as pyproject.toml writes them; this project's own if not given.
    """
    wanted = [Requirement(line) for line in (requires(OURSELVES) or [] if needed is None else needed)]
    always = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [problem for one in always if (problem := _problem(one))]
    if wrong:
        return Finding("packages", "FAIL", "; ".join(wrong), "pip install -c constraints.txt .")
    chosen = [one for one in wanted if one not in always and any(one.marker.evaluate({"extra": x}) for x in EXTRAS if one.marker)]
    old = [problem for one in chosen if (problem := _problem(one)) and "missing" not in problem]
    if old:
        return Finding("packages", "WARN", f"optional: {'; '.join(old)}", f"pip install -c constraints.txt '.[{','.join(EXTRAS)}]'")
    missing = [one.name for one in chosen if _problem(one)]
    without = f"; optional and not installed: {', '.join(missing)}" if missing else ""
    known = ", ".join(f"{name} {version(name)}" for name in ("torch", "accelerate", "transformers") if _installed(name))
    return Finding("packages", "OK", f"{len(always)} as needed ({known}){without}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _problem(wanted: Requirement) -> str:
    found = _installed(wanted.name)
    if found is None:
        return f"{wanted.name} is missing"
    fits = wanted.specifier.contains(found, prereleases=True)
    return "" if fits else f"{wanted.name} is {found}, needed {wanted.specifier}"
