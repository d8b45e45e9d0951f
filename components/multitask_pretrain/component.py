"""`multitask_pretrain` as a KFP component."""

from components.multitask_pretrain import stage
from components.shared.stage.container import Component

multitask_pretrain = Component(stage.multitask_pretrain, target="train")
