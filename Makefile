# `make demo` shows what dlio_fast does, `make test` shows that it is right.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PKG_CONFIG ?= pkg-config
ifeq ($(origin CC),default)
CC = gcc
endif

PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check

C_SOURCES := $(wildcard csrc/*.c)
C_HEADERS := $(wildcard csrc/*.h)
C_TESTS := $(wildcard tests/core/*.c)
C_TEST_HEADERS := $(wildcard tests/core/*.h)
CYTHON := $(shell find dlio_fast -name '*.p[xy][xdi]')

.PHONY: help demo test build soak bench core-test asan tsan lint format clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' Makefile | expand -t 12

demo: $(VENV)/.core ## generate a workload, read it back into PyTorch, compare with the stock loader
	$(PY) examples/quickstart.py

test: $(VENV)/.core $(VENV)/.with-test ## the whole test suite
	$(PY) -m pytest tests

build: $(VENV)/.core ## compile the core; install the package into .venv, editable

soak: $(VENV)/.core $(VENV)/.with-test ## the tests that run for many minutes
	$(PY) -m pytest tests -m soak --timeout 7200

bench: $(VENV)/.core $(VENV)/.with-bench ## the benchmarks
	$(PY) -m benchmarks

# The environment. Torch comes first and alone, so that nothing else decides
# its version; then what pyproject.toml asks for; then this package, which is
# compiled again whenever a source of the core changes.

NEED_PYTHON = dlio_fast needs Python 3.11 or newer with its venv module and headers, and a C compiler with zlib; \
	on Debian: apt-get install python3-venv python3-dev gcc zlib1g-dev
CHECK_TOOLCHAIN = @$(PYTHON) setup.py toolchain

$(VENV)/.torch:
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(NEED_PYTHON)" >&2; exit 1; }
	$(CHECK_TOOLCHAIN)
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.with-%: pyproject.toml $(VENV)/.torch
	@echo "installing what pyproject.toml asks for: $*"
	@$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
		needs = p["build-system"]["requires"], p["project"]["dependencies"], \
			p["project"]["optional-dependencies"]["$*"]; \
		print(*sum(needs, []), sep="\n")' > $@.txt
	@$(PIP) -r $@.txt
	@$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
		print(*p["tool"]["dlio-fast"]["without-dependencies"].get("$*", []), sep="\n")' > $@.txt
	@$(PIP) --no-deps -r $@.txt
	@touch $@

$(VENV)/.core: $(C_SOURCES) $(C_HEADERS) $(CYTHON) setup.py $(VENV)/.with-report
	$(CHECK_TOOLCHAIN)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The core's own test program, in one build for each sanitizer and compiler.

have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo $(2) $$($(PKG_CONFIG) $(3) $(1)))
OPTIONAL_CFLAGS := $(call have,libisal,-DDLF_HAVE_ISAL=1,--cflags) \
	$(call have,libdeflate,-DDLF_HAVE_LIBDEFLATE=1,--cflags) \
	$(call have,openssl,-DDLF_HAVE_OPENSSL=1,--cflags)
OPTIONAL_LIBS := $(call have,libisal,,--libs) $(call have,libdeflate,,--libs) $(call have,openssl,,--libs)

WARNINGS := -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE -Icsrc
CFLAGS_plain := -O2
CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
compiler := $(notdir $(firstword $(CC)))

build/%-$(compiler)/core_tests: $(C_SOURCES) $(C_HEADERS) $(C_TESTS) $(C_TEST_HEADERS) Makefile
	$(CHECK_TOOLCHAIN)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(OPTIONAL_CFLAGS) -g $(CFLAGS_$*) -pthread $(C_SOURCES) $(C_TESTS) -o $@ \
		$(OPTIONAL_LIBS) -lz

core-test: build/plain-$(compiler)/core_tests ## the tests of the C core alone
	$<

asan: build/asan-$(compiler)/core_tests ## the same under the address and undefined-behaviour sanitizers
	$<

tsan: build/tsan-$(compiler)/core_tests ## its concurrent parts under the thread sanitizer
	$< pool ring cache batch task indexed http refusals counters

# Every compiler at hand, with and without the optional libraries.
lint: $(VENV)/.with-test ## warnings are errors; ruff for the Python code
	@set -e; for cc in $$(command -v gcc) $$(command -v clang); do \
		for source in $(C_SOURCES) $(C_TESTS); do \
			$$cc $(WARNINGS) -O2 $(OPTIONAL_CFLAGS) -S -o /dev/null $$source; \
			if grep -q DLF_HAVE_ $$source; then $$cc $(WARNINGS) -O2 -S -o /dev/null $$source; fi; \
		done; \
	done
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.with-test ## let ruff lay out the Python code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove what was built; .venv and the data stay
	rm -rf build dist *.egg-info dlio_fast/*.so $(VENV)/.core
