"""
The device, the processes, and layers made fast on a CPU.

Imports torch, and nothing else of the project.
"""
