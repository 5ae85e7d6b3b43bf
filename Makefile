# Each verb first sets up what it needs, so that any of them works in a fresh clone.
#
# PYTHON chooses the interpreter (PYTHON=python3.12 make setup) and VENV where its environment stands.

VENV ?= .venv
BIN := $(VENV)/bin
# An environment that exists is used as it is, whatever python3 has become since.
PYTHON ?= $(if $(wildcard $(BIN)/pip),$(BIN)/python,python3)

# MXNet takes half of the cores in every test process unless told otherwise.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4
CSRC := $(wildcard csrc/*/*.h csrc/*/*.cc)
CYTHON := $(wildcard gluon_resnet/data/*.p[xy][dx] gluon_resnet/data/native/*.pxd)
NATIVE_TESTS := $(wildcard tests/native/*.h tests/native/*.cc examples/cpp/*.cc)
# Of each of the two sanitized programs, and of each of the fuzzers; which of these (none: all) is for FUZZ_TARGETS.
SANITIZE_SECONDS ?= 30
FUZZ_SECONDS ?= 60

.PHONY: help setup system predict demo test test-costly costly test-all coverage sanitize fuzz lint format docs wheel sdist clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## environment in .venv, packages, native extension

system:
	@scripts/system_packages.sh $(PYTHON)
	@test ! -x $(BIN)/pip || $(BIN)/python -c 'import sys; sys.exit(sys.argv[1] != str(sys.version_info[:2]))' \
	    "$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" \
	    || { echo "error: $(VENV) has another Python than $(PYTHON): remove it, or name another (VENV=...)" >&2; exit 1; }

define INSTALL
test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
@echo "Installing Python packages into $(VENV) and building the extension: a minute or two"
@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
endef

# An editable install builds the extension, too; after that, only what changed is compiled again.
$(VENV)/.ready: pyproject.toml constraints.txt setup.py $(CYTHON) $(CSRC) | system
	@$(if $(filter pyproject.toml constraints.txt,$?),$(INSTALL),$(BIN)/python setup.py --quiet build_ext --inplace)
	@touch $@

predict: setup  ## C++ prediction program, as build/predict/predict
	@mkdir -p build
	@{ cmake -S csrc -B build/predict -DCMAKE_BUILD_TYPE=Release -DMXNET_ROOT="$$($(BIN)/python -c \
	    'import importlib.util as u; print(u.find_spec("mxnet").submodule_search_locations[0])')" \
	    && cmake --build build/predict --parallel; } >build/predict.log 2>&1 || { cat build/predict.log >&2; exit 1; }

demo: setup predict  ## train a small net on scanned digits, export it, predict with it: a few minutes
	@$(BIN)/python -m gluon_resnet.cli.demo

test: setup predict  ## most tests: a few minutes
	@$(PYTEST) -m "not slow and not costly"

test-costly: setup predict  ## the tests that make test leaves out for their cost (tests/costly.txt)
	@$(PYTEST) -m "costly and not slow"

costly: setup predict  ## measure the tests that are not slow, and write tests/costly.txt anew
	@rm -rf build/processor-time
	@$(PYTEST) -m "not slow" -p tests.support.processor_time --processor-time=build/processor-time
	@$(BIN)/python -m tests.support.costly build/processor-time

test-all: setup predict sanitize  ## all tests, and the stress program
	@$(PYTEST)

coverage: setup  ## which lines of Python and C++ the fast tests reach: a table, and reports in build/coverage
	@scripts/coverage.sh $(BIN)/python

sanitize: setup  ## stress program for the C++ core under ASan, UBSan and TSan: two minutes
	@scripts/sanitize.sh $(SANITIZE_SECONDS)

fuzz: setup  ## libFuzzer and atheris on all that reads bytes of others: a minute, or FUZZ_SECONDS, each
	@scripts/system_packages.sh $(PYTHON) fuzz
	@$(BIN)/python -c 'import atheris' 2>/dev/null \
	    || $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@scripts/fuzz.sh $(BIN)/python $(FUZZ_SECONDS) $(FUZZ_TARGETS)

lint: setup  ## style of Python and C++, types of the public functions and of the extension
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CSRC) $(NATIVE_TESTS)
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-disjoint-bases \
	    --allowlist tests/stubtest_allowlist.txt gluon_resnet.data._native

format: setup  ## put Python and C++ into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CSRC) $(NATIVE_TESTS)

# Material's own announcements are no part of a build's output.
docs: setup  ## the site, with the Python API, in build/site; a link that leads nowhere fails
	@$(BIN)/python -c 'import mkdocs, material, mkdocstrings' 2>/dev/null \
	    || $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

wheel:  ## a wheel that carries its libraries, in dist/, for PYTHON, which may be one that MXNet has no build for
	@scripts/system_packages.sh $(PYTHON) wheel
	@scripts/build_wheel.sh $(PYTHON)

sdist:  ## the sources of a release, in dist/
	@scripts/system_packages.sh $(PYTHON) wheel
	@scripts/build_sdist.sh $(PYTHON)

clean:  ## remove what was built; .venv stays
	rm -rf build dist *.egg-info gluon_resnet/data/_native.*.so $(VENV)/.ready
