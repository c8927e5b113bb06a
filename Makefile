# `make` alone lists what there is to do. Nothing outside this folder is touched.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

# Where one of these is set, NumPy's matrix product uses the kernel it names, often a slower one than OpenBLAS would
# choose for this processor.
unexport OPENBLAS_CORETYPE
unexport OPENBLAS_L2_SIZE
# The tests start some two hundred programs, which would each compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# As many processes as there are cores, at most 4, which take tests from each other at the end. Each multiplies with one
# thread, NumPy's and PyTorch's, since the threads of several processes would wait for each other.
PYTEST  = OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

# Warnings are errors; ARGS are flags of the lessons, which are run while their pages are made.
SPHINX  = MINITORCH_LESSON="--out $(CURDIR)/runs/lessons $(ARGS)" $(RUN) -m sphinx -W --keep-going -q -c docs/site

.DEFAULT_GOAL := help
.PHONY: help train test test-lessons lessons notebooks docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=python3.12 chooses the Python (3.11 or newer), ARGS='--epochs 5' adds flags to the training"

# im2col: with --conv auto the clock would decide, and the numbers would depend on the processor.
train: $(VENV)/installed  ## train a narrow AlexNet on drawn shapes, about two minutes on two cores; see runs/first
	$(RUN) -m minitorch_alex.train --data shapes --set "channels=(24,64,96,96,64)" --set "hidden=(256,256)" \
	  --epochs 12 --set "milestones=(8,11)" --conv im2col --name first --overwrite $(ARGS)

test: $(VENV)/installed-test  ## ruff, mypy and the tests, in up to four processes (ARGS="-m 'not slow'" leaves out long ones)
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(PYTEST) $(ARGS)

test-lessons: $(VENV)/installed-test $(VENV)/installed-docs  ## run all lessons with --quick where only the wheel is, and the book in a browser, four minutes
	$(RUN) -m pytest -q -m lessons

lessons: $(VENV)/installed-docs  ## run the nine lessons and render them as a book, build/lessons/index.html (ARGS=--quick is shorter)
	$(SPHINX) -t lessons lessons build/lessons
	@echo "open build/lessons/index.html"

notebooks: $(VENV)/installed-docs  ## the nine lessons as notebooks that open anywhere, build/notebooks/
	$(RUN) docs/site/notebooks.py build/notebooks

docs: $(VENV)/installed-docs  ## the whole site: guides, lessons and API reference, build/docs/index.html (ARGS=--quick is shorter)
	$(SPHINX) . build/docs
	@echo "open build/docs/index.html"

clean:  ## remove the virtual environment and caches; runs/ and data/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "minitorch_alex needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)."; \
	  echo "Name another one, say: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[docs]'
	@touch $@
