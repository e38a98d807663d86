"""
MLflow: runs, registered models, versions, aliases, promotion.

Imports `training.data` and `training.measure` to promote by evidence; `model_versions` and
`address` import MLflow alone, so that a start of the server does not wait for torch.
"""
