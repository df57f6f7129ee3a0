# The few things one does here. `make` alone lists them.

PYTHON := /usr/bin/python3
VENV := .venv
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# The exit status that says that this machine cannot be watched. The reason is then on the terminal for a moment.
CANNOT := 3

# What is missing is installed without a question (yes: what developers call does that), or only after one.
INSTALL :=

# What Debian has and PyPI has not. The lab builds a kernel, hence the toolchain.
RUN_PACKAGES := python3 python3-venv python3-bpfcc
LAB_PACKAGES := qemu-system-x86 qemu-system-arm busybox-static linux-source-6.12 gcc binutils make flex bison bc perl patch \
	xz-utils zstd lz4 cpio kmod dwarves libelf-dev libssl-dev libc6-dev util-linux clang-format bpftrace tmux openssl \
	acpica-tools nodejs trace-cmd
IMAGE_PACKAGES := mmdebstrap skopeo umoci

.DEFAULT_GOAL := help
.PHONY: help run run-packages test types pytest lab oracle bench coverage mutants soak fuzz fuzz-native atheris prove-size \
	matrix pictures docs dist image dist-test fix clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run ## watch this machine; where it cannot be watched, say why and show a demonstration
	@$(SUDO) $(VENV)/bin/swiotlb-top $(ARGS) || { \
		status=$$?; test $$status = $(CANNOT) && test -z "$(ARGS)" || exit $$status; \
		if test -t 1; then sleep 3; fi; $(VENV)/bin/swiotlb-top --demo; }

test: $(VENV)/test ## lint, types, unit tests, recorded traces, and kernels in the lab
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/python -m tests.lab build || test "$${SWIOTLB_TOP_REQUIRE_LAB:-0}" != 1
	@$(VENV)/bin/python -m tests.oracle compile || test "$${SWIOTLB_TOP_REQUIRE_LAB:-0}" != 1
	@$(MAKE) --no-print-directory --jobs types coverage pytest

types: $(VENV)/test
	$(VENV)/bin/mypy

# In the order of their names: lab first, whose machines are waited for; else files of few tests came last. Three at a
# time on two cores: a machine that is watched for a while leaves a core to others.
pytest: $(VENV)/test
	$(VENV)/bin/pytest -q -rs -n 3 --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

lab: $(VENV)/test ## a lab kernel under load, with the live screen on this terminal (KERNEL=debian: a disk that stalls)
	@$(VENV)/bin/python -m tests.lab run --tty --deadline 86400 --cpus 2 --kernel $(or $(KERNEL),dynamic) \
		--swiotlb $(if $(filter debian,$(KERNEL)),256,512),force -- tests/lab/workloads/show.sh $(abspath $(VENV))/bin/python

oracle: $(VENV)/test ## the reference against the kernels' own C, longer than make test does (OPERATIONS=100000000, SEED=)
	$(VENV)/bin/python -m tests.oracle run --jobs 2 --operations $(or $(OPERATIONS),10000000) $(if $(SEED),--seed $(SEED)) $(CASES)

bench: $(VENV)/test ## replayed events per second, and what probes cost in instructions (the lab; no timed tests)
	$(VENV)/bin/python -m tests.bench.bench_replay
	$(VENV)/bin/python -m tests.bench.bench_size
	$(VENV)/bin/python -m tests.bench.bench_overlap
	$(VENV)/bin/python -m tests.bench.bench_allocator
	$(VENV)/bin/python -m tests.bench.bench_screen
	$(VENV)/bin/python -m tests.bench.bench_probes
	$(VENV)/bin/python -m tests.bench.bench_recorders
	$(VENV)/bin/python -m tests.bench.bench_exporter
	$(VENV)/bin/python -m tests.bench.bench_fleet

# What is left out takes long where branches are counted, and all are taken without: the machine driven at random, the
# recordings, and the table of every alignment.
COVERING = $(filter-out %_machine.py %_recordings.py,$(wildcard tests/unit/allocator/test_*.py))

coverage: $(VENV)/test ## branches of the reference allocator that its unit tests take: all, or this fails
	$(VENV)/bin/python -m coverage run --branch --source=swiotlb_top/allocator -m pytest -q -n 0 -p tests.support.mutants_profile \
		-k 'not the_only_free_slot' $(COVERING)
	$(VENV)/bin/python -m coverage report -m --skip-covered --fail-under=100

mutants: $(VENV)/test ## wrong slot searches and releases that no unit test notices (an hour; docs/mutants.md has the result)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[mutants]'
	nice -n 10 $(VENV)/bin/mutmut run
	@$(VENV)/bin/mutmut results

soak: $(VENV)/test ## ten minutes at four CPUs: the tool's memory stays flat and its verdict right (SECONDS=600)
	$(VENV)/bin/python -m tests.lab.soak $(SECONDS)

fuzz: $(VENV)/test ## recordings with values changed: no crash, none that takes long or much memory (MINUTES=60)
	PYTHONPATH=exporters $(VENV)/bin/python -m tests.fuzz.run $(or $(MINUTES),60)

fuzz-native: $(VENV)/test ## random operations, judged by the native core and by Python: the same (MINUTES=60, SEED=1)
	PYTHONPATH=exporters $(VENV)/bin/python -m tests.fuzz.native $(or $(MINUTES),60) $(or $(SEED),1)

atheris: $(VENV)/test ## small recordings, thousands a minute and guided by coverage: no crash (MINUTES=60)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	PYTHONPATH=exporters $(VENV)/bin/python -m tests.fuzz.atheris_small $(or $(MINUTES),60) -print_final_stats=1

prove-size: $(VENV)/test ## machines booted as `size` says: nothing fails at what it recommends, and something below
	$(VENV)/bin/python -m tests.lab.prove_size

matrix: $(VENV)/test ## docs/support.md: every kernel is booted, watched and judged (two hours; ROWS="debian 6.6": these)
	$(VENV)/bin/python -m tests.lab.matrix $(ROWS)

pictures: $(VENV)/test ## the pictures of the screen in docs/, from recordings in tests/traces
	$(VENV)/bin/python -m tests.support.screen_docs

docs: $(VENV)/test ## write anew what is made of tables: the pages of metrics, screen and sizes, pictures, dashboards, alerts
	$(VENV)/bin/python -m tools.metrics_page >docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md
	$(VENV)/bin/python -m tools.dashboards exporters/grafana
	$(VENV)/bin/python -m tools.alerts >alerts.yml.new && mv alerts.yml.new exporters/prometheus/swiotlb-alerts.yml
	$(VENV)/bin/python -m tests.support.screen_docs
	$(VENV)/bin/python -m tests.support.timeline_docs
	$(VENV)/bin/python -m tests.support.sizing_docs
	$(VENV)/bin/python -m tests.lab.matrix --page

dist: $(VENV)/dist ## what is handed out, in dist/: the single file, the Debian package, their SBOM, wheel and source distribution
	@$(VENV)/bin/python -m tools.packages dist

image: dist ## an OCI image beside them: the exporter, with what it needs of Debian 13 (as root, some minutes)
	@$(call install,$(IMAGE_PACKAGES))
	@$(VENV)/bin/python -m tools.packages.image dist

dist-test: $(VENV)/test ## packages and image, installed and run in Debian 12 and 13, in roots made for it (as root, some minutes)
	@$(call install,lintian $(IMAGE_PACKAGES))
	$(VENV)/bin/pytest -v tests/installed/in_debian.py tests/installed/in_image.py

fix: $(VENV)/test ## format Python and C
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	git ls-files 'bpf/*.[ch]' 'swiotlb_top/native/*.[ch]' 'tests/oracle/*.[ch]' | xargs clang-format -i

clean: ## remove what make made here (the lab's kernels stay in the cache)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage mutants

# The interpreter is Debian's, so that the environment sees Debian's bcc. One that is half made is no environment.
$(VENV)/run: pyproject.toml bpf/record.h swiotlb_top/records.py $(wildcard swiotlb_top/native/*.[ch]) | run-packages
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv --system-site-packages $(VENV) || { rm -f $(VENV)/bin/python; exit 1; }
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

# Without bcc there is still the demonstration.
run-packages:
	@$(call install,$(RUN_PACKAGES))

$(VENV)/dist: $(VENV)/run
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[dist]'
	@touch $@

$(VENV)/test dist-test: INSTALL := yes
$(VENV)/test: $(VENV)/run
	@$(call install,$(LAB_PACKAGES))
	@$(unpack_prometheus)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# Installs only what is missing, and asks apt only then: after a question on a terminal, elsewhere only if told to.
define install
missing=; for package in $(1); do \
	dpkg-query -W -f '$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
done; \
answer=$(INSTALL); \
if [ -n "$$missing" ] && ! command -v apt-get >/dev/null; then \
	echo "not a Debian system; please install what Debian calls:$$missing" >&2; \
elif [ -n "$$missing" ]; then \
	if [ "$$answer" != yes ] && [ -t 0 ] && [ -t 2 ]; then \
		printf 'missing:%s. Install with apt-get? [y/N] ' "$$missing" >&2; read -r answer; \
	fi; \
	case "$$answer" in \
	[Yy]*) \
		echo "installing:$$missing"; \
		$(SUDO) apt-get -qq update && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null ;; \
	*) \
		echo "missing, and not installed:$$missing. To install: make $(MAKECMDGOALS) INSTALL=yes" >&2 ;; \
	esac; \
fi
endef

# Debian's server and promtool, for tests to start. Unpacked rather than installed: that would start one of its own.
define unpack_prometheus
if ! test -x $(VENV)/bin/prometheus && command -v apt-get >/dev/null; then \
	scratch=$$(mktemp -d) && (cd $$scratch && apt-get -qq download prometheus 2>/dev/null && dpkg-deb -x prometheus_*.deb .) && \
	cp $$scratch/usr/bin/prometheus $$scratch/usr/bin/promtool $(VENV)/bin/ && rm -r $$scratch; \
fi
endef
