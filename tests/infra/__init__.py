"""Images, pools and policies."""
