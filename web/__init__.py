"""
What people and programs meet over HTTP: the page, and the API that explains itself.

It passes pictures on and never looks into one; of the house it may import `iqa.errors` alone.
"""
