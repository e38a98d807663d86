"""Graphics to tell from photographs, drawn by code: one module for training, one to judge with.

They share nothing but the sheet that both draw on; it imports no other module of ours.
"""
