"""How good a model is: log-likelihoods and held-out losses, each with its N and interval."""
