# spotwise: `make demo` shows it, `make test` proves it.
SHELL := /bin/bash
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Debian 12 names its libclang by version; elsewhere the newest will do.
LIBCLANG := $(shell apt-cache show libclang1-14 >/dev/null 2>&1 && echo libclang1-14 || echo libclang1)
# The tests of the store run on a PostgreSQL of their own; any version that is there will do.
POSTGRES := $(if $(or $(SPOTWISE_TEST_POSTGRES_BIN),$(wildcard /usr/lib/postgresql/*/bin/initdb)),,postgresql)
PACKAGES := cmake $(LIBCLANG) $(POSTGRES) libfaketime
# Traces and recordings for benchmarks; not part of the repository.
DATA ?= ../shared/data

.PHONY: packages demo dist test test-frameworks simulate hunt load short check fmt structure clippy doc unit bench tools build help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# What checks the REST contract: a validator, a fuzzer, a generator of clients.
CONTRACT := target/contract

$(CONTRACT)/ready: tests/contract/requirements.txt
	rm -rf $(CONTRACT) && python3 -m venv $(CONTRACT)
	$(CONTRACT)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# What stands in for S3.
OBJECT_STORE := target/object-store

$(OBJECT_STORE)/ready: tests/object_store/requirements.txt
	rm -rf $(OBJECT_STORE) && python3 -m venv $(OBJECT_STORE)
	$(OBJECT_STORE)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

tools: packages $(CONTRACT)/ready $(OBJECT_STORE)/ready ## installs what the build and its tests need (Debian packages; Python tools into target/)

packages: ## installs what the build needs and this machine lacks (Debian: cmake, libclang, PostgreSQL, libfaketime)
	@missing=; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  mkdir -p /etc/postgresql-common/createcluster.d && \
	  echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/spotwise.conf; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

# The whole workspace: with the features of the tests' own build, so that whoever
# runs the demo and then the tests builds nothing twice.
build: packages ## the programs as the demo and the tests run them
	$(CARGO) build --locked --workspace --bins

demo: build ## real jobs on a synthetic spot market, in under three minutes
	$(TARGET)/debug/spotwise demo $(DEMO_ARGS)

dist: packages ## the programs for use, optimised as a whole: target/dist
	$(CARGO) build --profile dist --locked -p spotwise-cli -p spotwise-worker -p spotwise-examples

check: fmt structure clippy doc ## formatting, import circles and walls between crates, lints, documentation

fmt:
	$(CARGO) fmt --all --check

structure: ## no import circle within a crate, and no crate knows what it must not
	$(CARGO) run --locked --quiet -p spotwise-structure

clippy: packages
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: packages
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

# The dice of the property tests are the same each time, so that the verdict on a
# commit is the commit's; `hunt` throws others.
unit: tools
	PROPTEST_RNG_SEED=$(or $(PROPTEST_RNG_SEED),1) $(CARGO) test --locked --workspace --quiet

test: check unit simulate ## everything that CI runs

simulate: packages ## worlds that try to break every promise: SEEDS=, DAYS=, SEED_BASE=; TRACE=1 shows one of them
	SEEDS=$(or $(SEEDS),200) DAYS=$(or $(DAYS),30) SEED_BASE=$(or $(SEED_BASE),1) TRACE=$(or $(TRACE),0) \
	  $(CARGO) test --locked --workspace --test simulation no_world_breaks_a_promise -- --nocapture

# Whose property tests throw dice.
RANDOM_TESTS := $(foreach crate,model solver market control scheduler simulated-cloud,-p spotwise-$(crate))

hunt: packages ## property tests with dice that the gate does not throw: ROUNDS=, SEED_BASE=; ends at the first failure
	@from=$(or $(SEED_BASE),$$RANDOM); for seed in $$(seq $$from $$((from + $(or $(ROUNDS),20) - 1))); do \
	  echo "PROPTEST_RNG_SEED=$$seed"; \
	  PROPTEST_RNG_SEED=$$seed $(CARGO) test --locked --quiet $(RANDOM_TESTS) --lib || exit 1; \
	done

test-frameworks: packages ## real Lightning and Transformers jobs through an interruption; installs 6 GB from PyPI
	$(CARGO) build --locked -p spotwise-cli
	python3 tests/frameworks/run.py

load: packages ## a load generator on the programs of `make dist`, SQLite and PostgreSQL; prints a table
	$(CARGO) build --profile dist --locked -p spotwise-cli -p spotwise-worker -p spotwise-tests --bins
	$(TARGET)/dist/spotwise-load suite --spotwise $(TARGET)/dist/spotwise $(LOAD_ARGS)

short: packages ## short tasks beside xargs, and a scheduler without a job; prints a table
	$(CARGO) build --profile dist --locked -p spotwise-cli -p spotwise-worker -p spotwise-tests --bins
	$(TARGET)/dist/spotwise-load short --spotwise $(TARGET)/dist/spotwise $(SHORT_ARGS)

bench: tools ## measures planning, MIG, openb and checkpoints as `make dist` builds them; openb reads the folder DATA
	$(CARGO) bench --profile dist --locked -p spotwise-solver --bench planning
	$(CARGO) bench --profile dist --locked -p spotwise-solver-lab --bench mig
	$(CARGO) bench --profile dist --locked -p spotwise-solver-lab --bench openb -- $(DATA)
	$(CARGO) test --profile dist --locked -p spotwise-worker --lib rates_of_checkpoints -- --ignored --nocapture --test-threads 1
