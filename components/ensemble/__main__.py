"""`python -m components.ensemble`."""

from components.ensemble.stage import ensemble
from components.shared.stage.cli import main

if __name__ == "__main__":
    main(ensemble)
