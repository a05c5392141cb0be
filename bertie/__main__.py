"""Run ``python -m bertie``, which is how torchrun starts the command line; nothing else lives here."""

from bertie.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
