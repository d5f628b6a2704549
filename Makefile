# A short front for CMake (see CMakePresets.json); every target sets up what it needs.
JOBS ?= $(shell nproc)
SHELL := /bin/bash
.PHONY: all test demo bench lint fuzz deps clean

all: release

# Ninja configures again by itself; a preset is configured here only once.
build/%/build.ninja: | deps
	cmake --preset $*

.PHONY: release dev asan tsan
release dev asan tsan: %: build/%/build.ninja
	cmake --build --preset $@ -j $(JOBS)

# The sanitizers come first, so that the last line is the count of the whole suite.
test: asan dev
	ctest --preset asan -j $(JOBS) -LE 'lint|slow'
	ctest --preset dev -j $(JOBS)

demo: release
	tools/demo.sh

bench: release
	tools/bench.sh

lint: dev
	@tools/deps.sh lint
	tools/lint.sh

fuzz:
	@tools/deps.sh build fuzz
	tools/fuzz.sh

deps:
	@tools/deps.sh build cuda

clean:
	rm -rf build
