"""The choice of an engine."""

from dsva.config import Config
from dsva.model.dsva import DSVA
from dsva.processes.ranks import Ranks
from dsva.train.deepspeed_zero import ZeroEngine
from dsva.train.engine import Engine
from dsva.train.fsdp import FsdpEngine


def build_engine(model: DSVA, config: Config, ranks: Ranks) -> Engine:
    """Return the engine that the configuration names, around a model that has the weights to begin with."""
    engine = config.train.engine
    # One process has nothing to cut.
    whole = engine == "ddp" or (engine == "fsdp2" and ranks.world_size == 1)
    kind = Engine if whole else FsdpEngine if engine == "fsdp2" else ZeroEngine
    return kind(model, config, ranks)
