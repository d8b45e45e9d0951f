"""`python -m components.weighting`."""

from components.shared.stage.cli import main
from components.weighting.stage import weighting

if __name__ == "__main__":
    main(weighting)
