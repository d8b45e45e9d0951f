"""`python -m components.initial_model`."""

from components.initial_model.stage import initial_model
from components.shared.stage.cli import main

if __name__ == "__main__":
    main(initial_model)
