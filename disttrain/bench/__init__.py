"""Measurements that ship with the package: kernels, sums over ranks, a step, and scaling."""
