# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests run in two processes of one thread each; more threads would fight over the cores.
WORKERS ?= 2

.PHONY: demo test screen lint format benchmark clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(READY)

demo: $(READY)  ## The web demo, with a synthetic CT already segmented
	$(BIN)/uniseg demo

# Without the libraries of a screen, the plugins that drive a window would stop pytest before the first test.
NO_WINDOW = $(shell $(BIN)/python -c "from PyQt6 import QtWidgets" 2>/dev/null || echo "-p no:pytest-qt -p no:napari")
test: $(READY) lint screen  ## Everything CI checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(NO_WINDOW)

# Tests of the page need a browser, those of the napari plugin a screen without a monitor. Where these are missing and cannot be
# installed, the tests are skipped and say so.
SCREEN := chromium xvfb xauth libegl1 libgl1 libgl1-mesa-dri libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0 libxcb-cursor0 \
	libxcb-icccm4 libxcb-keysyms1 libxcb-shape0
screen:
	@dpkg -s $(SCREEN) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends $(SCREEN); } || echo "to test the page and the window, install these system packages: $(SCREEN)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(READY)  ## Print the numbers that the README quotes
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python -m benchmarks
	$(BIN)/python benchmarks/prompt_maps.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
