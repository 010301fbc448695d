"""`python -m augment`."""

from augment.cli import program

if __name__ == "__main__":
    program()
