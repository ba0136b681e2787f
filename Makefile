# The targets that README and CI name. `make run` and `make test` need only Python 3.11 and the
# system packages that README lists.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv run test lint docs captures proto proto-check interop fuzz bench soak clean

venv: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PrimeDHT needs Python 3.11 or newer; try make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

run: venv
	$(BIN)/primedht run $(ARGS)

test: venv
	$(BIN)/python -m pytest -q -m 'not interop and not soak and not fuzz' $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages and files that are derived from the code.
docs: venv
	$(BIN)/python docs/generate.py

captures: venv
	$(BIN)/python docs/capture.py

# The compiler is pinned to the oldest line whose output runs on protobuf 4.25 to 6.
PROTOC_VENV := .venv/protoc
$(PROTOC_VENV)/.installed:
	$(PYTHON) -m venv $(PROTOC_VENV)
	$(PROTOC_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'grpcio-tools==1.62.3' 'setuptools<81'
	touch $@

proto: $(PROTOC_VENV)/.installed
	rm -rf build/pb && mkdir -p build/pb
	$(PROTOC_VENV)/bin/python -m grpc_tools.protoc -I proto --python_out=build/pb --pyi_out=build/pb proto/primedht/*.proto
	cp build/pb/primedht/*_pb2.py build/pb/primedht/*_pb2.pyi primedht/pb/

proto-check: proto
	git diff --exit-code -- primedht/pb

interop: venv
	$(BIN)/python -m pytest -q -m interop tests/interop $(ARGS)

fuzz: venv
	$(BIN)/python -m pytest -q -m fuzz tests/fuzz -o faulthandler_timeout=0 $(ARGS)

soak: venv
	$(BIN)/python -m pytest -q -m soak tests/soak -o faulthandler_timeout=0 $(ARGS)

# Some nine minutes; wants a machine with nothing else to do.
BENCHMARKS := engine control transport peers hotspots dht blocks compression
bench: venv
	rm -rf build/bench && mkdir -p build/bench
	for name in $(BENCHMARKS); do \
	    echo "== $$name" && $(BIN)/python benchmarks/$$name.py --json > build/bench/$$name.json || exit; \
	done
	$(BIN)/python benchmarks/report.py build/bench

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
