"""jaxelyte."""
