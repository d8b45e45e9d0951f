"""`compare` as a KFP component."""

from components.compare import stage
from components.shared.stage.container import Component

compare = Component(stage.compare, target="text")
