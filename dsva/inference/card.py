"""The README.md of an exported model: what it is, what it was trained and tested on, how to load it."""

from dsva.evaluation.results import Results
from dsva.evaluation.tables import confidence, summary
from dsva.model.exported import Exported
from dsva.provenance.starts import described
from dsva.tables import literal

NAME = "README.md"

_CARD = """---
library_name: dsva
pipeline_tag: zero-shot-image-classification
tags:
- remote-sensing
- zero-shot-learning
- attributes
license: other
---

# DSVA: scenes from above, recognised by their attributes

A CLIP vision transformer ({sizes}) whose tokens are read by two heads as {attributes} attributes of a scene. A class is a row of
attribute strengths, so that classes which were never seen in training can be recognised (Deep Semantic-Visual Alignment, Xu et al.,
ISPRS 2023).

## Use

```python
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dsva.model.dsva import DSVA
from dsva.model.exported import Exported

folder = Path(".")  # of this file
model, exported = DSVA.from_pretrained(folder), Exported.read(folder)
image = Image.open("scene.jpg").convert("RGB").resize((exported.resize, exported.resize))
with torch.no_grad():
    outputs = model(exported.pixels(torch.from_numpy(np.array(image))[None]))
scores = exported.class_rows(torch.device("cpu")).scores(outputs.proto)
print(exported.classes[int(scores.argmax())])
```

`config.json` holds classes, attributes and rows; `outputs.maps` shows where each attribute was seen. Scores of seen classes are
higher by nature: among seen and unseen classes together, subtract the gamma of the table below from theirs.

## Classes

Seen in training ({n_seen}): {seen}.

Never seen ({n_unseen}): {unseen}.

Attributes: {groups}.

## Trained on

| | |
|:--|:--|
{facts}

## Tested

{scores}

## Limits

The scores hold for images like those of the test: same sensor, ground resolution and region. An image of a class outside the
list is sorted into one of it all the same. Classes that the attributes do not tell apart are confused.

## Licence

The code of DSVA is under the MIT licence. These weights follow from the images, the attribute table and, where the backbone was not
random, the pretrained weights that they were made with: the terms of those apply, and none are granted here.
"""


def card(exported: Exported, backbone: str, results: Results | None) -> str:
    """Return the card, as markdown with the metadata that model hubs read.

    Args:
        exported: the model.
        backbone: what training began with.
        results: of this very checkpoint; None where it has not been scored.
    """
    clip, source = exported.clip, exported.source
    seen, unseen = exported.classes[: exported.n_seen], exported.classes[exported.n_seen :]
    facts = {
        "backbone before training": "random weights" if backbone == "random" else backbone,
        "optimizer steps": f"{source.step:,}",
        "checkpoint, sha256": source.checkpoint_sha256,
        "shard set, digest": source.data_digest,
        "code": described(source.code),
    }
    if results:
        made = results.provenance
        facts |= {
            "class split": made.split,
            "seed": str(made.seed),
            "training images": f"{results.images['train']:,}",
            "attribute table": f"{made.attributes_meaning or 'how it was made is not told'} (sha256 {made.attributes_sha256})",
        }
    sizes = f"{clip.num_hidden_layers} layers of width {clip.hidden_size}, {clip.image_size} pixels, patches of {clip.patch_size}"
    return _CARD.format(
        sizes=sizes,
        attributes=len(exported.attributes),
        n_seen=len(seen),
        seen=literal(", ".join(seen)),
        n_unseen=len(unseen),
        unseen=literal(", ".join(unseen)),
        groups=literal("; ".join(f"{name} ({len(places)})" for name, places in exported.groups.items())),
        facts="\n".join(f"| {name} | {literal(value)} |" for name, value in facts.items()),
        scores="\n".join(made(results).markdown() for made in (summary, confidence))
        if results
        else "This checkpoint was not scored.",
    )
