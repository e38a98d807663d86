"""
Heads beside the score: what is wrong with a picture, and whether it is a photograph at all.

Imports `iqa` for features and the definition of the heads, `training.data` for pictures, and
`training.graph` for the graph whose features are learnt from. `cause_names` and `options` import no
torch: a command's help waits for them.
"""
