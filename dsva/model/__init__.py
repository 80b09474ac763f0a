"""The network: backbone, attribute heads, attention-chosen regions, losses."""
