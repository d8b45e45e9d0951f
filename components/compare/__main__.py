"""`python -m components.compare`."""

from components.compare.stage import compare
from components.shared.stage.cli import main

if __name__ == "__main__":
    main(compare)
