"""Deep Semantic-Visual Alignment: classes, model, training, checkpoints, evaluation. Imports `shards`."""
