"""
A checkpoint as a graph: ONNX, and OpenVINO in lower precision behind a gate.

Imports `training.data` and `training.measure` for the gate's images.
"""
