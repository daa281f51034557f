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
# This script is told before the time is up; the training then saves and ends with 75.
#SBATCH --signal=B:USR1@{{grace}}
#SBATCH --requeue
# A node that dies does not end the job: the training goes on with those that are left.
#SBATCH --no-kill
# Submit from a folder that all nodes share: sbatch {{script}}

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed 's/$/:{{per_node}}/' | paste -sd,)
{{program}} launch --hosts "$hosts" --restarts 3 train {{run_file}} --resume &
pid=$!
trap 'kill -USR1 $pid' USR1 TERM
# A signal ends the wait, not the training.
while wait $pid; code=$?; kill -0 $pid 2>/dev/null; do :; done

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted:
# 75 the state is saved, 5 ranks were lost. Anything else would end the same way again.
if [ $code = 75 ] || [ $code = 5 ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
exit $code
