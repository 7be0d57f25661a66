"""What the demo weights are worth, on phantoms that were never looked at."""
