"""Steps of built-in layers, recorded once for each batch shape and replayed by one call into C."""

from disttrain.training.recorded.step import Recordings

__all__ = ["Recordings"]
