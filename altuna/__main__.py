"""``python -m altuna``."""

from altuna.cli.main import main

main()
