"""What Kubeflow Trainer gives the nodes of a job, for those that are processes here."""

import socket


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def environment(node: int, nodes: int, port: int) -> dict[str, str]:
    """Return the variables by which a node, with one process, finds node 0."""
    return {
        "PET_NNODES": str(nodes),
        "PET_NPROC_PER_NODE": "1",
        "PET_NODE_RANK": str(node),
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
    }
