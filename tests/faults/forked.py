"""Runs one experiment again and again, each time in a fork: torch is imported once for all.

A line `OUT` on stdin starts a run into that folder; stdout has its process number, then a line a
step, and `end STATUS`. Checkpoints and tables are written far more often than in earnest, so that
a kill can fall into the writing of each. A line is one write, so that no kill leaves half of it.
"""

import json
import os
import sys
from pathlib import Path

from augment.engine import run
from augment.engine.local import Local
from augment.experiment.validation import make_recipe
from augment.training import checkpoints

checkpoints.CHECKPOINT_SECONDS = run.WRITE_SECONDS = 0.05
for out in sys.stdin:
    child = os.fork()
    if not child:
        os.write(1, f"{os.getpid()}\n".encode())
        recipe = make_recipe(**json.loads(sys.argv[1]))
        folder = Path(out.rstrip("\n"))
        for step in run.execute(recipe, out=folder, data_dir=None, executor=Local("cpu", 1)):
            os.write(1, f"{step.stage} {step.step}\n".encode())  # print may take one a word
        os._exit(0)
    print("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
