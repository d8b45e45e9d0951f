"""`wt_pretrain` as a KFP component."""

from components.shared.container import Component
from components.wt_pretrain import stage

wt_pretrain = Component(stage.wt_pretrain, target="train")
