"""Training: the one loop, plans and run folders."""
