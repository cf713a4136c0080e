# Two commands: `make book` and `make test`. Everything is installed into .venv.

PYTHON3 ?= python3
PORT ?= 8000
# one thread a process: two that each take both cores slow each other down fivefold
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MMGEN_SCALE=laptop CUDA_VISIBLE_DEVICES=
BIN := .venv/bin
EXTRAS := data,notebooks,metrics,logging,export,assignments,book,dev

.PHONY: book serve test lint audit notebooks smoke bench assignments slides weights clean

book: .venv/installed
	@$(BIN)/python book/tools/vendor.py
	@OMP_NUM_THREADS=1 $(BIN)/python book/tools/playground.py
	@$(BIN)/jupyter-book build -W -n --keep-going --quiet .
	@echo
	@echo "The book is built. To read it: make serve"

serve:
	@$(BIN)/python book/tools/serve.py --port $(PORT)

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON3) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
	  || { echo "The book needs Python 3.11 or newer; name one: make book PYTHON3=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON3) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python \
	  --constraints constraints.txt --editable ".[$(EXTRAS)]"
	@# matplotlib looks for fonts once, and would say so in the middle of a notebook
	@$(BIN)/python -c "import matplotlib.font_manager"
	@touch $@

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known faults of the exact versions, and of the oldest that pyproject.toml allows. It
# asks the package index for its advisories; a package that it knows nothing of is an
# error (--strict), so that no network never reads as no faults.
AUDIT := $(BIN)/uv tool run --quiet pip-audit==2.10.1 --strict --no-deps --disable-pip
audit: .venv/installed
	@mkdir -p build
	$(BIN)/uv pip compile --quiet --all-extras --resolution lowest-direct \
	  --no-annotate --no-header --output-file build/lowest.txt pyproject.toml
	$(AUDIT) --requirement constraints.txt
	$(AUDIT) --requirement build/lowest.txt

# The book's tests look at the built pages, so they come after a build; the notebooks are
# run again from the top and every output is compared with the committed one. What takes
# minutes begins first, in this order, or one core would wait for it at the end. In the
# browser the tests of a page stay together: each core has its own browser and server.
# Every cell runs here at laptop scale, by nbval; at smoke scale it runs by make smoke.
test: book lint
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	  --nbval -m "not book and not smoke" $(wildcard notebooks/*.ipynb) tests/classroom tests \
	  $(wildcard notebooks/assignments/*/*.ipynb)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m book tests/book

notebooks: .venv/installed
	$(BIN)/python book/tools/execute.py

# every cell of every chapter once, at the smallest size, without comparing outputs
smoke: .venv/installed
	$(THREADS) MMGEN_SCALE=smoke $(BIN)/python -m pytest -n 2 -q \
	  -m smoke tests/test_notebooks.py

# without those that train for many minutes or need a run: they say so by SLOW = "why"
bench: .venv/installed
	@set -e; for file in $$(grep -L "^SLOW = " $$(grep -l __main__ benchmarks/*.py)); do \
	  echo; echo "== $$file"; $(BIN)/python -m benchmarks.$$(basename $$file .py); done

# for teachers: what students and graders get, with a seed that stays with the teacher;
# NAME=cgan builds one assignment alone
assignments: .venv/installed
	$(BIN)/python -m mmgen.classroom.build $(if $(NAME),--only $(NAME)) \
	  $(if $(SEED),--seed $(SEED))

slides: .venv/installed
	$(BIN)/python book/tools/slides.py

weights: .venv/installed
	@test -n "$(NAME)" || { echo "which weights? e.g. make weights NAME=cgan-shapes64"; exit 1; }
	$(BIN)/mmgen weights $(NAME)

clean:
	rm -rf _build build
