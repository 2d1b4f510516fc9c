"""Show a volume in a browser (`seismill view`); the only folder that imports Bokeh."""
