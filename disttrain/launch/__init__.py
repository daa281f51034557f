"""`disttrain launch`: finding mpirun, preparing hosts, passing on signals, judging the end."""

from disttrain.launch.mpirun import Launcher, find_launcher
from disttrain.launch.supervisor import supervise

__all__ = ["Launcher", "find_launcher", "supervise"]
