"""A fuzz of all that the command line reads: files of every kind, broken in every way.

    python -m tests.fuzz                          # all kinds, two minutes, seed 1
    python -m tests.fuzz --seed 7 --seconds 3600  # a soak
    python -m tests.fuzz --only table --number 12 # one case once more, with what it printed

Each case is a function of the seed, its kind and its number: it makes an input, runs one command of
disttrain on it, and holds the outcome against rules: no signal, no hang, no traceback, no control
characters, a documented exit code, and no wrong result (an input that was changed is refused, or
the result is the one of the unchanged input).
"""
