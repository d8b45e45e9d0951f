"""`python -m components.tagging`."""

from components.shared.stage.cli import main
from components.tagging.stage import tagging

if __name__ == "__main__":
    main(tagging)
