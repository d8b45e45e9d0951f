"""`python -m tests.impatient`: finetuning that waits for a signature for seconds, not minutes."""

from components.finetune.stage import finetune
from components.shared import nodes

nodes._PATIENCE, nodes._PAUSE = 6.0, 0.5

if __name__ == "__main__":
    nodes.main(finetune)
