"""The command line: `app.py` registers the commands, one module holds each group of them.

`options.py` defines every shared option once, `flags.py` derives those of the recipe, `console.py`
prints, `progress.py` follows a run, `signals.py` ends it. torch and pandas are imported inside the
commands, so that help is fast.
"""

from augment.cli.app import app, main, program

__all__ = ["app", "main", "program"]
