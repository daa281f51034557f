"""Trains on the cluster of containers of docker/compose.yml, breaks it, and keeps a score-card.

Run by `make cluster-test`. Standard library only: all that it needs beside Python is Docker.
"""
