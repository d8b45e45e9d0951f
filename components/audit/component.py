"""`audit` as a KFP component."""

from components.audit import stage
from components.shared.stage.container import Component

audit = Component(stage.audit, target="train")
