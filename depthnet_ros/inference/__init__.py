"""From an image to relative inverse depth: pre-processing, backend, post-processing. Torch only in its backend."""

import os
import sys

# A robot reports to nobody. Here, since no module of this package can import a runtime before: at its import OpenVINO,
# and with it NNCF, would send an event to Google Analytics from a fork of this process, of many threads by then, and
# ONNX Runtime write a device's id and a database of events to the home folder. Both go without the package that sends.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as Python marks what is not to be found
