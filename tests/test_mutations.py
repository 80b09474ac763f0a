"""The table of mutations fits the tree: else it would no longer change what it says. A second; trying them takes minutes."""

from benchmarks.mutation_table import TABLE
from benchmarks.mutations import misfits


def test_every_mutation_finds_its_text_once_and_its_tests() -> None:
    assert list(misfits()) == []


def test_every_mutation_changes_something_and_only_once() -> None:
    made = [(target.module, mutation.old, mutation.new) for target in TABLE for mutation in target.mutations]
    assert len(set(made)) == len(made)
    assert all(old != new for _, old, new in made)
