#!/bin/bash
#SBATCH --job-name={{name}}
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks={{ranks}}
#SBATCH --ntasks-per-node={{per_node}}
#SBATCH --cpus-per-task={{cpus}}
{{slurm_memory}}
{{slurm_gpus_per_node}}
{{slurm_partition}}
{{slurm_account}}
#SBATCH --time={{time}}
#SBATCH --output={{name}}-%j.out
#SBATCH --open-mode=append
# This script is told before the time is up; the training then saves and ends with 75.
#SBATCH --signal=B:USR1@{{grace}}
#SBATCH --requeue
# A node that dies does not end the job: the training goes on with those that are left.
#SBATCH --no-kill
# Submit from a folder that all nodes share: sbatch {{script}}

{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed 's/$/:{{per_node}}/' | paste -sd,)
{{program}} launch --hosts "$hosts" --restarts 3 train {{run_file}} --resume &
pid=$!
warned='' cancelled=''
# TERM without USR1 before is `scancel`: the job stays cancelled. Slurm ends the daemons at the same
# time, so what comes after the newest checkpoint may be lost; `scancel --signal=USR1 --batch` saves.
trap 'warned=yes; kill -USR1 $pid' USR1
trap '[ "$warned" ] || cancelled=yes; kill -USR1 $pid' TERM
# A signal ends the wait, not the training; where both come at once, the shell still knows the code.
while wait $pid; code=$?; kill -0 $pid 2>/dev/null; do :; done
wait $pid 2>/dev/null; again=$?
[ $again = 127 ] || code=$again

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted: 75 the
# state is saved, 5 ranks were lost. Queued again where it has got further: else it would be for ever.
if [[ ! $cancelled && $code =~ ^(75|5)$ ]] && further; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
