"""`ensemble` as a KFP component."""

from components.ensemble import stage
from components.shared.stage.container import Component

ensemble = Component(stage.ensemble, target="train")
