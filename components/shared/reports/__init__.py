"""What people read: reports, display names and metrics."""
