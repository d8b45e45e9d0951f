"""`weighting` as a KFP component."""

from components.shared.stage.container import Component
from components.weighting import stage

weighting = Component(stage.weighting, target="text")
