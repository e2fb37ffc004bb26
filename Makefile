# Everything below installs what it needs first: into .venv and .cache of this folder, once.
PYTHON ?= python3
VENV := .venv
ARGS ?=
# What the demo shows: detect, obb, polygon, brush, ellipse, keypoint, choices, video, timeline; tiles (no Label Studio).
CONTROL ?= detect

.PHONY: install install-dev demo label-studio test test-quick fuzz faults test-kubernetes test-images test-ceph locks bench bench-labour bench-order lint format docs screenshot browser terraform-schemas clean

# What `labelloop` and the demo need; install-dev adds what tests, lint and bench need.
install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

# Without compiling all 20,000 files: Python compiles those that are used when they are, and keeps them. Where the environment
# forbids that, every process would compile again: a training for 6 seconds, and the tests start a hundred.
unexport PYTHONDONTWRITEBYTECODE

# label-studio-sdk brings opencv-python-headless and ultralytics opencv-python, two builds of the same files. The headless
# one is written last: the other needs libGL, which a machine without a screen does not have.
$(VENV)/.installed: EXTRA := cli
$(VENV)/.installed-dev: EXTRA := dev
$(VENV)/.installed $(VENV)/.installed-dev: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "labelloop needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.11 …"; exit 1; }
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check --no-compile --editable '.[$(EXTRA)]'
	$(VENV)/bin/pip install --disable-pip-version-check --no-compile --force-reinstall --no-deps \
		"opencv-python-headless==$$($(VENV)/bin/python -c 'from importlib.metadata import version; print(version("opencv-python"))')"
	$(VENV)/bin/pip check --disable-pip-version-check
	touch $(VENV)/.installed $@

demo: install
	$(VENV)/bin/python -m infra.demo.main --control $(CONTROL) $(ARGS)

# The Label Studio of demo and tests, which they would install too where it is missing.
label-studio: $(VENV)/.installed-dev
	$(VENV)/bin/python -c 'from infra.local.label_studio import install; install()'

# In three processes: much of it is waiting, and on two cores this takes five sixths of the time of two. tests/scheduling.py says what
# stays together and what begins first. One that dies ends the run: pytest-xdist would start another, and wait for ever for the rest
# of what the first one had.
test: install-dev browser
	$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

# Pure tests alone: no server, no torch, no process.
test-quick: install-dev
	$(VENV)/bin/python -m pytest tests/unit --numprocesses 2 --dist loadscope $(ARGS)

# The property tests with new random cases for so many minutes (make test always tries the same ones). It prints the seed of
# each round, and what hypothesis needs to see a failure again: make that an @example. ARGS="-k rotated" for some of them.
fuzz: MINUTES ?= 10
fuzz: install-dev
	$(VENV)/bin/python -m tests.fuzz $(MINUTES) $(ARGS)

# Faults at random moments, from a list, on the real programs, Label Studio and an S3 server: docs/reliability.md.
# SEED chooses them again; ARGS="--report FILE" keeps the table.
faults: MINUTES ?= 30
faults: SEED ?= 0
faults: install-dev
	$(VENV)/bin/python -m tests.faults $(MINUTES) --seed $(SEED) $(ARGS)

# A real API server and Job controller, built of Debian's source package the first time (10 minutes, below ~/.cache).
test-kubernetes: install-dev
	$(VENV)/bin/python -m pytest tests/real -k kubernetes --kubernetes $(ARGS)

# Builds the images of infra/docker in chroots and runs them: root, 14 GB of disk, 10 minutes.
test-images: install-dev
	command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap; }
	$(VENV)/bin/python -m pytest tests/real/test_images.py --images $(ARGS)

# All that runs on an S3 store, once more on Ceph's radosgw: 4 minutes. Debian's packages are installed first, by root.
CEPH := ceph-mon ceph-osd radosgw ceph-common
test-ceph: install-dev
	@command -v radosgw >/dev/null && command -v ceph-mon >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CEPH); \
	else echo "Ceph is not installed, and only root can: apt-get install --no-install-recommends $(CEPH)"; exit 1; fi
	$(VENV)/bin/python -m pytest tests/parts/test_objectstore.py tests/parts/test_every_store.py \
		tests/real/test_s3.py tests/real/test_buckets.py -k s3 --s3-server ceph $(ARGS)

# Writes infra/docker/locks; what is pinned stays where it still fits. ARGS=--upgrade takes the newest.
locks: install-dev
	$(VENV)/bin/python -m infra.docker.lock $(ARGS)

bench: install-dev
	$(VENV)/bin/python -m bench $(ARGS)

# Plays an annotator tile by tile, with a run after every fifth: what the loop saves her. docs/small-data.md has the figures.
bench-labour: install-dev
	$(VENV)/bin/python -m bench.labour $(ARGS)

# The experiment of docs/order.md: 25 minutes of one core, and where it was stopped it goes on.
bench-order: PLAYS ?= .cache/order.jsonl
bench-order: install-dev
	$(VENV)/bin/python -m bench.order.play $(PLAYS) $(ARGS)
	$(VENV)/bin/python -m bench.order $(PLAYS) --picture docs/images/order.svg

lint: install-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy shared functions jobs infra tests bench
	$(VENV)/bin/lint-imports
	@$(VENV)/bin/labelloop settings --markdown | diff docs/configuration.md - \
		|| { echo "docs/configuration.md is older than shared/settings.py: make docs"; exit 1; }

format: install-dev
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: install
	$(VENV)/bin/labelloop settings --markdown > docs/configuration.md

# The pictures of Label Studio in README and docs: made by the tests, against models that were really trained.
screenshot: install-dev browser
	$(VENV)/bin/python -m pytest tests/real/test_loop_browser.py --screenshot docs/images/label-studio.png
	$(VENV)/bin/python -m pytest tests/real/test_controls.py tests/real/test_loop_browser.py --screenshots docs/images/controls
	$(VENV)/bin/python -m pytest tests/real/test_ui_browser.py --ui-pictures docs/images

browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	else echo "no chromium here: the browser test will be skipped"; fi

# What tests/infra/terraform_protocol.py serves, after a new resource type in infra/terraform: needs npm.
terraform-schemas: install-dev
	$(VENV)/bin/python -m tests.terraform.extract .cache/terraform

clean:
	rm -rf $(VENV) .cache
