#!/bin/bash
#BSUB -J {{name}}
#BSUB -n {{ranks}}
#BSUB -R "span[ptile={{per_node}}] affinity[core({{cpus}})]"
{{lsf_gpus}}
#BSUB -W {{minutes}}
#BSUB -o {{name}}-%J.out
# The job is queued again after 75, the state is saved, and after 5, ranks were lost.
# `disttrain launch` judges a run by its completion mark, so these codes can be trusted.
#BSUB -Q "5 75"
# Submit from a folder that all nodes share: bsub < {{script}}

# Before the time is up the training is asked to save.
timeout --preserve-status --signal=USR1 {{seconds}} \
  {{program}} launch --hostfile "$LSB_DJOB_HOSTFILE" --restarts 3 train {{run_file}} --resume
