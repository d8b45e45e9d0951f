"""`python -m components.pseudo_label`."""

from components.pseudo_label.stage import pseudo_label
from components.trainjob.node import main

if __name__ == "__main__":
    main(pseudo_label)
