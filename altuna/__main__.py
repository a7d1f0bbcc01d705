"""``python -m altuna``."""

from altuna.cli import main

main()
