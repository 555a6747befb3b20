"""``python -m jaxelyte``: the command line, also where its script is not on the path."""

from jaxelyte.cli.app import app

if __name__ == "__main__":
    app(prog_name="python -m jaxelyte")
