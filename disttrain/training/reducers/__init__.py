"""Adding gradients over ranks: the only communication of a step; one reducer an arithmetic."""

from disttrain.training.reducers.base import Reducer, Totals
from disttrain.training.reducers.batch_sums import BatchSums
from disttrain.training.reducers.leaves import LeafReducer
from disttrain.training.reducers.products import Plan, ProductReducer
from disttrain.training.reducers.shares import ShareReducer

__all__ = [
    "BatchSums",
    "LeafReducer",
    "Plan",
    "ProductReducer",
    "Reducer",
    "ShareReducer",
    "Totals",
]
