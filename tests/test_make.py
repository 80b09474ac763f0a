"""What `python3 make.py` runs for which arguments; that it installs and runs at all is what the automatic checks show."""

import pytest

import make


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that it would run."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(make, "install", lambda: commands.append(("install",)))
    monkeypatch.setattr(make, "run", lambda *command: commands.append(command))
    return commands


def test_tests_alone_are_all_checks_and_all_tests(ran: list[tuple[str, ...]]) -> None:
    make.main(["test"])
    assert ran == [("install",), *map(tuple, make.CHECKS)]
    assert {command[0] for command in ran[1:]} == {"ruff", "mypy", "lint-imports", "mkdocs", "pytest"}


@pytest.mark.parametrize("given", [["tests/shards"], ["tests/shards/test_order.py::test_part", "-x"], ["-m", "not slow"]])
def test_tests_with_arguments_are_pytest_with_them(ran: list[tuple[str, ...]], given: list[str]) -> None:
    make.main(["test", *given])
    assert ran == [("install",), ("pytest", *given)]


def test_the_demonstration(ran: list[tuple[str, ...]]) -> None:
    make.main(["demo"])
    assert ran == [("install",), ("dsva", "demo")]


@pytest.mark.parametrize("given", [[], ["tests"], ["demo", "tests/shards"], ["--help"]])
def test_anything_else_is_told_how(ran: list[tuple[str, ...]], given: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"usage: python3 make\.py"):
        make.main(given)
    assert ran == []
