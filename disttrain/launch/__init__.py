"""What stands behind `disttrain launch`: the right mpirun, signals, and how a run really ended."""

from disttrain.launch.mpirun import Launcher, find_launcher
from disttrain.launch.supervisor import STATUS, TERMINAL, supervise

__all__ = ["STATUS", "TERMINAL", "Launcher", "find_launcher", "supervise"]
