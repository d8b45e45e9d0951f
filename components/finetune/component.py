"""`finetune` as a KFP component."""

from components.finetune import stage
from components.shared.stage.container import Component

finetune = Component(stage.finetune, target="train")
