"""`python -m components.ingest`."""

from components.ingest.stage import ingest
from components.shared.stage.cli import main

if __name__ == "__main__":
    main(ingest)
