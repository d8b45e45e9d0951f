"""`python -m components.wt_pretrain`."""

from components.trainjob.node import main
from components.wt_pretrain.stage import wt_pretrain

if __name__ == "__main__":
    main(wt_pretrain)
