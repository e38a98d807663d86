"""
What people and programs meet over HTTP: the page, and the API that explains itself.

It may import `console`, Starlette and FastAPI, and of `iqa` what needs neither torch nor Pillow.
"""
