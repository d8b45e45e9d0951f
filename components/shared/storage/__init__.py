"""Where bytes come from and go to: this machine's disks and S3."""
