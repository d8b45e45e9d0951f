"""`python -m tests.impatient`: finetuning that waits for a heartbeat for seconds, not minutes."""

from components.finetune.stage import finetune
from components.trainjob import node

node._PATIENCE, node._PAUSE = 6.0, 0.5

if __name__ == "__main__":
    node.main(finetune)
