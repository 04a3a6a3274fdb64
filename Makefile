# make run               set everything up and open the tagging page on photos that come with the packages
# make test              set everything up and run all tests
# make test-unit         only the unit tests, which start no process and no server (also: test-integration, test-browser)
# make test-readers      ask the programs that other people wrote what they read from the exports; fetches them first
# make setup             only prepare .venv
# make setup TORCH=cpu   the same with PyTorch's CPU build: gigabytes less, no GPU; later commands keep to it
# make lint              style and types
# make lock              write requirements.lock anew: the newest versions that pyproject.toml allows; then run the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 7860
# More options for pytest, such as OPTIONS=--need-browser.
OPTIONS ?=
# Two processes of one thread each: on two cores, more threads would only wait for one another. Compiled modules are kept
# whatever the environment says, since the tests start many processes.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile
GET_BROWSER := $(BIN)/python tests/find_browser.py --get

# Which build of PyTorch: default (what PyPI serves; on Linux with CUDA's libraries) or cpu (from PyTorch's own index).
TORCH_PRESENT := $(if $(wildcard $(VENV)),$(or $(shell cat $(VENV)/.torch 2>/dev/null),default))
TORCH ?= $(or $(TORCH_PRESENT),default)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_PACKAGES := $(shell sed -n 's/^ *"\(torch[a-z]*==[^"]*\)".*/\1/p' pyproject.toml)
ifeq ($(filter default cpu,$(TORCH)),)
$(error TORCH is "$(TORCH)"; it may be "default" or "cpu")
endif
# The two FAISS wheels install the same module; exactly one may be present.
EXTRA := $(if $(filter cpu,$(TORCH)),cpu,$(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu))

.PHONY: run test test-unit test-integration test-browser test-readers setup lint lock clean

run: setup
	$(BIN)/annotator demo --port $(PORT)

test: setup
	@$(GET_BROWSER) >/dev/null
	$(PYTEST) $(OPTIONS)

test-unit test-integration: setup
	$(PYTEST) -m $(@:test-%=%) $(OPTIONS)

test-browser: setup
	@$(GET_BROWSER) --or-fail >/dev/null
	$(PYTEST) -m browser --need-browser $(OPTIONS)

test-readers: setup
	test -d .venv-readers || $(PYTHON) -m venv .venv-readers
	.venv-readers/bin/python -m pip install --quiet -r tests/datasets/formats/readers/requirements.txt
	ANNOTATOR_READERS=$(CURDIR)/.venv-readers/bin/python $(BIN)/python -m pytest -m integration $(OPTIONS) \
		tests/datasets/formats/test_readers.py tests/datasets/formats/test_xmp.py

setup: $(STAMP)

# An environment with the other build of PyTorch is made anew: nothing of that build stays behind.
CLEAR := $(if $(filter-out $(TORCH),$(TORCH_PRESENT)),--clear)
ifneq ($(CLEAR),)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "annotator needs Python 3.11 or newer; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(CLEAR) $(VENV)
	echo $(TORCH) >$(VENV)/.torch
	$(BIN)/python -m pip install --quiet --upgrade pip
ifeq ($(TORCH),cpu)
	$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) $(TORCH_PACKAGES)
	@$(BIN)/python -c 'import sys, torch; sys.exit(torch.version.cuda and "this is no CPU build of PyTorch: is $(TORCH_INDEX) reached? run: make setup TORCH=cpu, or make setup TORCH=default")'
endif
	$(BIN)/python -m pip install --quiet --constraint requirements.lock -e ".[$(EXTRA),photos,dev]"
	touch $(STAMP)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/type_check.py

lock: setup
	$(BIN)/python tests/lock.py

clean:
	rm -rf $(VENV) build dist *.egg-info demo
