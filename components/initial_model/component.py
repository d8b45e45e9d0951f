"""`initial_model` as a KFP component."""

from components.initial_model import stage
from components.shared.stage.container import Component

initial_model = Component(stage.initial_model, target="train")
