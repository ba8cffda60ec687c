# Everything is made in $(VENV) with the versions of constraints.txt; a stamp there says what is done.

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: help demo check slow constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Another Python: make check PYTHON=python3.12 VENV=.venv-3.12"

demo: $(VENV)/.installed ## install emodo, run its main job on generated faces, write runs/demo/report.html
	$(VENV)/bin/emodo demo

check: $(VENV)/.installed-dev ## install what development needs; check style and types, run the tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/pytest

slow: $(VENV)/.installed-dev ## run the tests that take minutes
	$(VENV)/bin/pytest tests/slow

constraints: $(VENV)/.created ## pin what is new in pyproject.toml (all anew: rm constraints.txt first)
	$(PIP) install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --system-certs --universal --fork-strategy fewest --python-version 3.11 \
		--all-extras --no-annotate --no-header --output-file constraints.txt pyproject.toml

clean: ## remove the environment, caches and packages; runs and data stay
	if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf build dist .pytest_cache .ruff_cache
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.created:
	@version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))' \
		2>/dev/null) || { echo "emodo needs Python 3.11 or newer, and $(PYTHON) is $${version:-missing}:" \
		"install one, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) makes no virtual environments:" \
		"install its venv package (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing emodo in $(VENV): at first a few minutes and 6 GB of disk, most of it PyTorch for GPUs"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@
