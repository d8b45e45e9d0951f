"""`python -m components.compare`."""

from components.compare.stage import compare
from components.shared.cli import main

if __name__ == "__main__":
    main(compare)
