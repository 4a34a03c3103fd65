"""What a person sees and types: the only rooms that import IPython, ipywidgets or plotly."""
