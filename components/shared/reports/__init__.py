"""What people read: pages, names, and metrics."""
