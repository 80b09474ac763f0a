"""How the rows of an attribute table were made, as the file itself records it, so that evaluation can check it."""

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints

from shards.order import Ids

Mode = Literal["text", "sentences", "seen-images", "exemplars"]
Rows = Literal["raw", "standardised", "l2"]
# Ids as text: archives have millions of images, whose keys would make a table that no run can read.
Gaps = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,18}( [0-9]{1,18})*)?$")]


def gaps(ids: Ids) -> Gaps:
    """Return ids as text, in ascending order: the first, then how far each is from the one before."""
    return " ".join(map(str, np.diff(np.sort(ids), prepend=0).tolist()))


class TableProvenance(BaseModel):
    """The `provenance` of an attribute table that a CLIP model made; hashes are sha256, `data_digest` is the shard set's own.

    Attributes:
        mode: `text` compares prompts with prompts; `sentences` takes the embeddings of the class prompts themselves;
            `seen-images` compares the seen classes' training images with the attributes' prompts and predicts the other rows
            from their class prompts; `exemplars` takes the other rows from images of those classes too.
        clip: hub id or folder of the model.
        clip_sha256: of its weights in float32.
        class_templates: of the classes' prompts.
        attribute_templates: of the attributes' prompts.
        described: what stands for each class in the templates.
        split: name of the class split; "" where there is none.
        seen: its seen classes.
        unseen: its unseen classes.
        data_digest: of the shard set that the images come from; "" where there are none.
        images: by class, the sample ids in the shard set, as `gaps` writes them, of the images that its row was made from.
        rows: whether the rows were standardised or divided by their length in the end.
        statistics: classes over which mean and deviation were taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode
    clip: str
    clip_sha256: str
    class_templates: tuple[str, ...]
    attribute_templates: tuple[str, ...]
    described: dict[str, str]
    split: str = ""
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    data_digest: str = ""
    images: dict[str, Gaps] = {}
    rows: Rows = "raw"
    statistics: tuple[str, ...] = ()

    def samples(self, names: Iterable[str]) -> Ids:
        """Return the sample ids of the images that the rows of classes were made from, ascending within a class."""
        texts = (self.images.get(name, "") for name in names)
        return np.concatenate([np.zeros(0, np.int64), *(np.cumsum(np.array(text.split(), np.int64)) for text in texts)])
