"""Who a process of a job is."""

from dsva.processes.environment import ALONE, Position
from launch.jobs.worker import START, Worker

STEP = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
STEP |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "node[1-2]"}


def test_a_task_of_srun_and_its_restart() -> None:
    assert Worker.of(STEP) == Worker(Position(5, 8, 1), "7", "7-0")
    assert Worker.of({**STEP, "SLURM_RESTART_COUNT": "2"}).start == "7-2"


def test_a_task_of_an_array_keeps_the_name_that_scontrol_knows() -> None:
    assert Worker.of({**STEP, "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "3"}).job == "6_3"


def test_a_number_that_a_step_of_srun_has_left_over_is_no_place() -> None:
    assert Worker.of({"SLURM_PROCID": "3"}).rank == 0


def test_a_batch_script_is_alone() -> None:
    assert Worker.of({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}) == Worker(ALONE, "7", "7-0")


def test_two_commands_in_one_shell_of_salloc_are_two_jobs() -> None:
    assert Worker.of({"SLURM_JOB_ID": "7"}).job != "7"


def test_who_starts_processes_inside_of_a_job_counts_and_not_slurm() -> None:
    own = {START: "abc", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    assert Worker.of({**STEP, **own}) == Worker(Position(1, 2, 1), "abc", "abc")
