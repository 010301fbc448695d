"""Training: the contract of a learner, the loop, checkpoints, recovery after a failure."""
