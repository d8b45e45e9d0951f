"""`python -m components.lw_pretrain`."""

from components.lw_pretrain.stage import lw_pretrain
from components.trainjob.node import main

if __name__ == "__main__":
    main(lw_pretrain)
