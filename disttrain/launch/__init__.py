"""What stands behind `disttrain launch`: the right mpirun, hosts, signals, how it really ended."""

from disttrain.launch.mpirun import Launcher, find_launcher
from disttrain.launch.supervisor import supervise

__all__ = ["Launcher", "find_launcher", "supervise"]
