"""`python -m histocyte`, where the command itself is not on the path."""

from histocyte.apps.cli.main import run

if __name__ == "__main__":
    run()
