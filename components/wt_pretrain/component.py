"""`wt_pretrain` as a KFP component."""

from components.shared.stage.container import Component
from components.wt_pretrain import stage

wt_pretrain = Component(stage.wt_pretrain, target="train")
