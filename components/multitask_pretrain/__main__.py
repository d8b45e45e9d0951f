"""`python -m components.multitask_pretrain`."""

from components.multitask_pretrain.stage import multitask_pretrain
from components.trainjob.node import main

if __name__ == "__main__":
    main(multitask_pretrain)
