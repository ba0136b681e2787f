"""The simulated world: the engine's other edge."""
