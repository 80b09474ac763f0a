"""The network: backbone, attribute heads, regions, class scores, losses, CLIP's text side, the exported model."""
