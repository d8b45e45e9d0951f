"""`pseudo_label` as a KFP component."""

from components.pseudo_label import stage
from components.shared.stage.container import Component

pseudo_label = Component(stage.pseudo_label, target="train")
