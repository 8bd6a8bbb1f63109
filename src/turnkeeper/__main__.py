"""`python -m turnkeeper`."""

from turnkeeper.cli import main

if __name__ == "__main__":
    main()
