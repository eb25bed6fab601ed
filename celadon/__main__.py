"""``python -m celadon``: the command line."""

from celadon.cli.main import main

if __name__ == "__main__":
    main()
