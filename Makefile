# A short front for CMake (see CMakePresets.json); every target sets up what it needs.
JOBS ?= $(shell nproc)
SHELL := /bin/bash
.PHONY: all test test-gpu demo bench bench-gpu dist lint fuzz deps clean

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

test-gpu: release
	tools/test_gpu.sh build/release

# For a machine with a GPU: an archive without LLVM and oneDNN.
dist: release build/dist/build.ninja
	cmake --build --preset dist -j $(JOBS) --target dist_programs
	tools/dist.sh build/dist build/dist build/release/strata

demo: release
	tools/demo.sh

bench: release
	tools/bench.sh

bench-gpu: release
	tools/bench_gpu.sh build/release

lint: dev
	@tools/deps.sh lint fuzz
	tools/lint.sh

fuzz:
	@tools/deps.sh build fuzz
	tools/fuzz.sh

deps:
	@tools/deps.sh build cuda

clean:
	rm -rf build
