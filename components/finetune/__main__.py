"""`python -m components.finetune`."""

from components.finetune.stage import finetune
from components.trainjob.node import main

if __name__ == "__main__":
    main(finetune)
