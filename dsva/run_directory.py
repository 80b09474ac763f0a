"""The run directory: the names of all that lies in one. Free of torch and of everything else, for all who look into one.

config.yaml            the resolved configuration; damaged-config.yaml what was left of one that was damaged
environment.json       versions, device, command line, code version
code/                  what the checkouts of its starts held beyond their commits, if anything
starts.jsonl           every start: when, where, why, from which step, on which inputs, with which code
ended.json             why the run ended the last time, as far as it could still say so; gone once it goes on
saved.json             the step of the newest checkpoint, which tells one that is gone from one that never was
metrics.jsonl          figures by step; tensorboard/ the same for TensorBoard
bad_steps.jsonl        steps that were left out, with their images, and going back because of them
checkpoints/           complete checkpoints, see `dsva.runs.checkpoint_format`
results.json           the figures, results.md as tables, pictures beside them; decisions.safetensors what they follow from
report.html            the page
job/                   notes of what started the run, if anything did, see `launch.jobs.folder`
hangs/                 stacks of all ranks, where a run got no further
before-NNNN/           what there was before the run was begun anew by --from-scratch
"""

LOCK = ".lock"  # held by the process that works on the run
CONFIG, ENVIRONMENT, CODE = "config.yaml", "environment.json", "code"
STARTS, ENDED, SAVED = "starts.jsonl", "ended.json", "saved.json"
METRICS, TENSORBOARD, BAD_STEPS = "metrics.jsonl", "tensorboard", "bad_steps.jsonl"
CHECKPOINTS = "checkpoints"
RESULTS, TABLES, DECISIONS, PAGE = "results.json", "results.md", "decisions.safetensors", "report.html"
JOB = "job"  # whoever starts the run may keep notes there before the run begins
ASKED = f"{JOB}/{CONFIG}"  # among them the configuration that a job will begin it with
HANGS, BEFORE = "hangs", "before-"
REFUSED = ".refused"  # the mistake that a rank met, and in which start
