"""`python -m augment`."""

from augment.cli import main

if __name__ == "__main__":
    main()
