"""``python -m vilam``: the command line."""

from vilam.cli import main

if __name__ == "__main__":
    main()
