"""``python -m edgeopt`` is the command line."""

from edgeopt.cli import main

main()
