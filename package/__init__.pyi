from iqa.errors import ImageRejected as ImageRejected
from iqa.local.model import Model as Model
from iqa.local.model import Score as Score
from iqa.local.model import load as load

__all__ = ["ImageRejected", "Model", "Score", "load"]
