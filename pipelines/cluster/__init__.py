"""Runs on a Kubeflow cluster: their pods' settings, how they are started and followed."""
