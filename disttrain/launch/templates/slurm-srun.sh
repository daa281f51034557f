#!/bin/bash
#SBATCH --job-name={{name}}
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks={{ranks}}
#SBATCH --ntasks-per-node={{per_node}}
#SBATCH --cpus-per-task={{cpus}}
{{slurm_gpus}}
#SBATCH --time={{time}}
#SBATCH --output={{name}}-%j.out
#SBATCH --open-mode=append
# The ranks are told before the time is up; they save and end with 75.
#SBATCH --signal=USR1@{{grace}}
#SBATCH --requeue
# Submit from a folder that all nodes share: sbatch {{script}}
# For a Slurm with PMIx (`srun --mpi=list` shows it) and an MPI built for it.

srun --mpi=pmix --kill-on-bad-exit=1 {{program}} train {{run_file}} --output {{folder}} --resume
code=$?

# srun's status is no evidence. A run has ended when its summary says so.
status=$(sed -n 's/^  "status": "\([a-z-]*\)".*/\1/p' {{folder}}/summary.json 2>/dev/null)
case $status in
  completed | stopped-early) exit 0 ;;
  diverged | failed) exit $((code ? code : 1)) ;;
esac
# A run file or data that can't work would end the same way again.
case $code in 2 | 3 | 4) exit $code ;; esac
if [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit 75
