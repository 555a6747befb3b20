"""Potentials: the interface, its algebra and derivatives, and the terms."""
