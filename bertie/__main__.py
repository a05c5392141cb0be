"""The entry point of ``python -m bertie``, through which torchrun starts the command line."""

from bertie.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
