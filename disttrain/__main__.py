"""`python -m disttrain` is `disttrain`."""

from disttrain.cli import main

main()
