#!/bin/bash
#SBATCH --job-name={{name}}
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks={{ranks}}
#SBATCH --ntasks-per-node={{per_node}}
#SBATCH --cpus-per-task={{cpus}}
{{slurm_memory}}
{{slurm_gpus}}
{{slurm_partition}}
{{slurm_account}}
#SBATCH --time={{time}}
#SBATCH --output={{name}}-%j.out
#SBATCH --open-mode=append
# The ranks are told before the time is up; they save and end with 75.
#SBATCH --signal=USR1@{{grace}}
#SBATCH --requeue
# Submit from a folder that all nodes share: sbatch {{script}}
# For a Slurm with PMIx (`srun --mpi=list` shows it) and an MPI built for it.

{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
srun --mpi=pmix --cpus-per-task={{cpus}} --kill-on-bad-exit=1 \
  {{program}} train {{run_file}} --output {{folder}} --resume
code=$?

# srun's status is no evidence. A run has ended when its summary says so.
status=$(sed -n 's/^  "status": "\([a-z-]*\)".*/\1/p' {{folder}}/summary.json 2>/dev/null)
case $status in
  completed | stopped-early) exit 0 ;;
  diverged | failed) exit $((code ? code : 1)) ;;
esac
# What can't work would end the same way again, and so would what has got no further.
case $code in 1 | 2 | 3 | 4 | 126 | 127) exit $code ;; esac
further || exit $((code ? code : 5))
scontrol requeue "$SLURM_JOB_ID"
exit 75
