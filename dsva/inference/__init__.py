"""A trained run at work: any images, any classes, scenes, explanations, export."""
