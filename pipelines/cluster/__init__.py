"""Runs on a Kubeflow cluster: what their pods get, how they are started and followed."""
