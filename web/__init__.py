"""
The gateway: the API that people expect (FastAPI), the Open Inference Protocol, and the page.

It passes pictures on to the inference port and never looks into one. Imports `iqa.errors` for the
list of reasons, and nothing else of the house: neither MLflow nor torch is ever loaded here.
"""
