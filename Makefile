# All that a newcomer needs: `make demo`, `make check` (quick tests) and `make test` (all of them).
# They need only python3 (3.11 or newer, with venv) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo check test pythons lint errors mappings format clean rtl rtl-synth rtl-mutations

$(VENV)/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qsnnc needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/qsnnc compile models/lenet.onnx -o demo.map
	$(BIN)/chipsim run demo.map --dataset digits --json demo.json
	$(BIN)/chipsim compare demo.map --model models/lenet.onnx --dataset digits
	$(BIN)/chipsim report demo.json --map demo.map --model models/lenet.onnx --dataset digits -o demo.html

# What `make check` and `make pythons` run: all but the tests marked slow, and a few examples of every property.
QUICK := -n 2 --dist worksteal -m "not slow" tests/unit tests/property

check: $(VENV)/installed lint
	HYPOTHESIS_PROFILE=few $(BIN)/python -m pytest $(QUICK)

test: $(VENV)/installed lint
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20

pythons:
	HYPOTHESIS_PROFILE=few $(PYTHON) .ci/pythons.py $(QUICK)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/leftovers.py

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

errors: $(VENV)/installed
	$(BIN)/python -c 'from chipsim.explain import document; print(document(), end="")' > docs/errors.md

mappings: $(VENV)/installed
	$(BIN)/python mappings/make.py

# The chip in SystemVerilog against chipsim: docs/rtl.md. Needs verilator, g++ and make; not part of `make test`.
rtl: $(VENV)/installed
	$(BIN)/python rtl/compare.py all

rtl-mutations: $(VENV)/installed
	$(BIN)/python rtl/mutate.py

# Its size, beside `chipsim area`. Needs yosys.
rtl-synth: $(VENV)/installed
	$(BIN)/python rtl/synth.py

clean:
	rm -rf $(VENV) .venvs demo.map demo.json demo.html rtl/build
