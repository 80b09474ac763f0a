"""Images at rest and on their way: packing, index, order, reading. Knows nothing of models and does not import torch."""
