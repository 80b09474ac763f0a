"""What an experiment is made of besides its model: shards, classes, attributes, image sets, all checked."""

from dataclasses import dataclass, replace
from typing import Self

import torch

from dsva.config import Config
from dsva.model.dsva import DSVA
from dsva.model.scores import ClassRows, class_rows
from dsva.protocol.attribute_table import AttributeTable
from dsva.protocol.attribute_table import load as load_attributes
from dsva.protocol.class_splits import Split, find_split
from dsva.protocol.image_sets import ImageSets, image_sets
from dsva.protocol.leak_checks import check_table
from dsva.protocol.separability import check_rows
from shards.errors import UserError
from shards.index import ShardSet


@dataclass(frozen=True, eq=False)
class Experiment:
    """The data side of a run.

    Attributes:
        config: the whole configuration.
        shards: the images.
        table: the attributes of the classes.
        split: which classes are seen and unseen.
        sets: which images train and which test.
    """

    config: Config
    shards: ShardSet
    table: AttributeTable
    split: Split
    sets: ImageSets

    @classmethod
    def open(cls, config: Config) -> Self:
        """Open and check everything, before anything is written or trained.

        Raises:
            UserError: a file that cannot be read, or a gate of the zero-shot protocol that refuses.
        """
        data, classes = config.data, config.classes
        shots = data.batch_size // data.ways if data.ways else 1
        shards = ShardSet.open(data.shards)
        table = load_attributes(classes.attributes)
        split = find_split(shards, classes.splits, classes.split)
        table.rows((*split.seen, *split.unseen))
        table = table.part(config.validation.partition)
        published = config.eval.protocol == "paper"
        sets = image_sets(shards, split, classes.seen_test_share, config.validation, shots, classes.exclude_near, published)
        sets = check_table(table, split, shards, sets, config.eval)
        if data.ways > sets.n_seen:
            raise UserError(f"data.ways={data.ways} is more than the {sets.n_seen} seen classes: lower it")
        opened = cls(config, shards, table, split, sets)
        return replace(opened, sets=check_rows(table, sets, opened.class_rows(torch.device("cpu"))))

    def hashes(self) -> dict[str, str]:
        """Return what identifies the inputs' content, by the configuration's key of each."""
        return {
            "data.shards": self.shards.digest,
            "classes.attributes": self.table.sha256,
            "classes.splits": self.split.sha256,
        }

    def build_model(self) -> DSVA:
        """Build the network for these attributes; random weights depend on torch's seed only."""
        groups = tuple(self.table.groups.values())
        return DSVA(self.config.model, self.config.data.image_size, groups)

    def class_rows(self, device: torch.device) -> ClassRows:
        """Return the rows of all classes of the run, seen before unseen; a row enters training only if it is seen."""
        strengths = torch.from_numpy(self.table.rows(self.sets.classes)).to(device)
        return class_rows(strengths, self.sets.n_seen, self.config.scores)
