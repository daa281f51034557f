#!/bin/bash
#FLUX: --job-name=mnist-800
#FLUX: --nodes=2
#FLUX: --nslots=8
#FLUX: --cores-per-slot=1
#FLUX: --time-limit=5400s
#FLUX: --output=mnist-800.out
# Submit from a folder that all nodes share: flux batch train.flux
# For an MPI that Flux can start: Open MPI 5 with PMIx (the shell plugin `pmix`), or MPICH.

newest() { local files=(runs/mnist-800/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
# The ranks are told before the time is up; they save and end with 75.
flux run --nodes=2 --ntasks=8 --cores-per-task=1 -o pmi=pmix \
  --time-limit=5400s --signal=USR1@120s \
  disttrain train examples/mnist-800.toml --output runs/mnist-800 --resume
code=$?

# A run has ended when its summary says so.
status=$(sed -n 's/^  "status": "\([a-z-]*\)".*/\1/p' runs/mnist-800/summary.json 2>/dev/null)
case $status in
  completed | stopped-early) exit 0 ;;
  diverged | failed) exit $((code ? code : 1)) ;;
esac
# What can't work would end the same way again, and so would what has got no further.
case $code in 1 | 2 | 3 | 4 | 126 | 127) exit $code ;; esac
further || exit $((code ? code : 5))
flux --parent batch train.flux
exit 75
