"""The command line: runs from validated TOML files, analysis of what they leave, the demonstration."""

from jaxelyte.cli.app import app

__all__ = ["app"]
