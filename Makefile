# Two commands: `make demo` and `make test`. Each makes what it needs in .venv; a sourced ROS 2 installation is used if there is one.
PYTHON ?= python3
VENV ?= .venv
# The CPU build of torch, from its own index if that answers; a torch that is there already is kept.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Demo: any source that camera_replay takes (a folder, a video, a bag, /dev/video0); empty: the scene renderer.
INPUT ?=
DURATION ?= 20
OUT ?= out
PYTEST_ARGS ?=
# What a robot has by the README, on Ubuntu 24.04; of the tests those that start no nodes.
ROBOT ?= .venv-robot
ROBOT_TESTS ?= $(addprefix test/,backends bags cli core evaluation geometry inference messages metric_scale models navigation \
  sources visualization)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ifdef ROS_DISTRO
  VENV_FLAGS := --system-site-packages
  CONSTRAINTS := -c requirements/system-ros.txt
  ROS_REQUIREMENTS :=
else
  ROS_REQUIREMENTS := -r requirements/ros.txt
endif

.PHONY: help demo test test-robot lint format bench coverage clean
help:
	@echo "make demo [INPUT=folder|video|bag|/dev/video0]   depth from a camera stream on a real ROS graph, results in out/"
	@echo "make test                                       all tests"
	@echo "make test-robot                                 some of them with the numpy and OpenCV of Ubuntu 24.04, without torch"
	@echo "make lint | format | coverage | bench | clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV_FLAGS) $(VENV) || { rm -rf $(VENV); echo "no venv module: sudo apt install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements/runtime.txt requirements/ros.txt setup.py | $(BIN)/python
	@echo "installing the runtime into $(VENV) ..."
	@$(PIP) $(CONSTRAINTS) -r requirements/runtime.txt $(ROS_REQUIREMENTS) "setuptools<80" wheel
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "installing torch and the tools for tests into $(VENV) ..."
	@$(BIN)/python -c "import torch" 2>/dev/null \
	  || $(PIP) --no-deps --retries 0 --timeout 15 --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	@$(PIP) $(CONSTRAINTS) "$(TORCH:torch==%=torch>=2.4)" -r requirements/dev.txt
	@touch $@

$(ROBOT)/.robot: requirements/robot.txt requirements/ubuntu-24.04.txt requirements/ros.txt
	@$(PYTHON) -m venv $(VENV_FLAGS) $(ROBOT)
	@echo "installing what a robot has into $(ROBOT) ..."
	@$(PIP:$(BIN)/%=$(ROBOT)/bin/%) -r requirements/ubuntu-24.04.txt -r requirements/robot.txt $(ROS_REQUIREMENTS)
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/python -m depthnet_ros.demo --seconds $(DURATION) --out "$(OUT)" $(if $(INPUT),--input "$(INPUT)")

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info < (3, 13))'),True)
test-robot:
	@echo "left out: numpy 1 needs Python 3.12 or older (make test-robot PYTHON=...)"
else
test-robot: $(ROBOT)/.robot
	$(ROBOT)/bin/python -m pytest $(ROBOT_TESTS) $(PYTEST_ARGS)
endif

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term --cov-report=html:out/coverage $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks --out "$(OUT)/bench"

clean:
	rm -rf $(VENV) $(ROBOT) out build install log .mypy_cache .pytest_cache .ruff_cache
