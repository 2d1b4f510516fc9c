"""Look at a volume in a browser: `seismill view`; the only folder that knows Bokeh."""
