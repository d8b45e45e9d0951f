"""What a stage is: its signature, the ways to call it, and what it runs on."""
