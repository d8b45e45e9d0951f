"""`lw_pretrain` as a KFP component."""

from components.lw_pretrain import stage
from components.shared.stage.container import Component

lw_pretrain = Component(stage.lw_pretrain, target="train")
