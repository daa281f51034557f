#!/bin/bash
#PBS -N {{name}}
#PBS -l select={{nodes}}:ncpus={{node_cpus}}:mpiprocs={{per_node}}{{pbs_gpus}}
#PBS -l walltime={{time}}
#PBS -j oe
# Submit from a folder that all nodes share: qsub {{script}}

cd "$PBS_O_WORKDIR" || exit 2
# Before the time is up the training is asked to save; it ends with 75.
timeout --preserve-status --signal=USR1 {{seconds}} \
  {{program}} launch --hostfile "$PBS_NODEFILE" --restarts 3 train {{run_file}} --resume
code=$?

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted:
# 75 the state is saved, 5 ranks were lost. Anything else would end the same way again.
if [ $code = 75 ] || [ $code = 5 ]; then
  qsub {{script}}
fi
exit $code
