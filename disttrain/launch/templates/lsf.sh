#!/bin/bash
#BSUB -J {{name}}
#BSUB -n {{ranks}}
#BSUB -R "span[ptile={{per_node}}] affinity[core({{cpus}})]"
{{lsf_memory}}
{{lsf_gpus}}
{{lsf_partition}}
{{lsf_account}}
#BSUB -W {{minutes}}
#BSUB -o {{name}}-%J.out
# A job that ends so is queued again, but not one that `bkill` has ended.
#BSUB -Q "99"
# Submit from a folder that all nodes share: bsub < {{script}}

{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
# Before the time is up the training is asked to save.
timeout --preserve-status --signal=USR1 {{seconds}} \
  {{program}} launch --hostfile "$LSB_DJOB_HOSTFILE" --restarts 3 train {{run_file}} --resume
code=$?

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted: 75 the
# state is saved, 5 ranks were lost. Queued again where it has got further: else it would be for ever.
if [[ $code =~ ^(75|5)$ ]] && further; then
  exit 99
fi
exit $code
