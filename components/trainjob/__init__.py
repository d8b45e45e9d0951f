"""Run a stage on several nodes: the launcher of a Kubeflow TrainJob, and its nodes."""
