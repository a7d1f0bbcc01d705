"""``python -m altuna``."""

from altuna.cli.commands import main

main()
