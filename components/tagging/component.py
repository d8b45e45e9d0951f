"""`tagging` as a KFP component."""

from components.shared.stage.container import Component
from components.tagging import stage

tagging = Component(stage.tagging, target="text")
