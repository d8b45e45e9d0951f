"""`python -m components.ingest`."""

from components.ingest.stage import ingest
from components.shared.cli import main

if __name__ == "__main__":
    main(ingest)
