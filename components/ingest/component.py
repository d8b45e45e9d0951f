"""`ingest` as a KFP component."""

from components.ingest import stage
from components.shared.stage.container import Component

ingest = Component(stage.ingest, target="text")
